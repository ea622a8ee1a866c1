package demo

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// The founding failure, beside what replaced it. The workload asks questions that have one right
// answer, and in between starts to read files and stops half way, as a repair does that is cancelled.
// It is run over a pool of connections without correlation IDs, as the failing system had it, and over
// one multiplexed connection. Both have the same server behind them.

// peer is how the workload talks to the server.
type peer interface {
	// ask asks for the sum of an extent.
	ask(ctx context.Context, extent uint64) (uint64, error)
	// stopHalfWay begins to read an extent, and has seen enough before its end.
	stopHalfWay(ctx context.Context, extent uint64) error
}

const (
	controlCallers = 8
	controlCalls   = 100 // of each caller
	controlExtents = 50
	controlPieces  = 32
)

// sumOf is the right answer.
func sumOf(extent uint64) uint64 { return (extent + 1) * 0x9e3779b97f4a7c15 }

// piece is a part of an extent's bytes.
func piece(extent uint64) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("this is extent %d. ", extent)), 500)
}

// workload counts how many answers were wrong, and how many calls failed.
func workload(ctx context.Context, seed uint64, p peer) (wrong, failed int) {
	var mu sync.Mutex
	var callers sync.WaitGroup
	for caller := range uint64(controlCallers) {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(seed, caller))
			for range controlCalls {
				extent := r.Uint64N(controlExtents)
				if r.IntN(20) == 0 {
					if err := p.stopHalfWay(ctx, extent); err != nil {
						mu.Lock()
						failed++
						mu.Unlock()
					}
					continue
				}
				sum, err := p.ask(ctx, extent)
				mu.Lock()
				switch {
				case err != nil:
					failed++
				case sum != sumOf(extent):
					wrong++
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	return wrong, failed
}

// A pool without correlation IDs hands file bytes to callers as answers; the sessions of wire/mux, given
// the very same work, do not.
func TestControl(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	pool := newNaivePool(t, 4)
	wrong, failed := workload(t.Context(), seed, pool)
	t.Logf("shared pool: %d wrong answers, %d failed calls", wrong, failed)
	if wrong == 0 {
		t.Error("the naive pool gave no wrong answer: this workload does not show the failure any more")
	}
	sessions := newMuxPeer(t)
	wrong, failed = workload(t.Context(), seed, sessions)
	t.Logf("wire/mux: %d wrong answers, %d failed calls", wrong, failed)
	if wrong != 0 || failed != 0 {
		t.Errorf("%d wrong answers and %d failed calls over wire/mux, want none", wrong, failed)
	}
	if n := sessions.conn.Stats().Mismatches; n != 0 {
		t.Errorf("%d frames matched no call", n)
	}
}

// One stream that stops half way is enough: the very next caller reads the file.
func TestControlOne(t *testing.T) {
	for name, p := range map[string]peer{"pool": newNaivePool(t, 1), "mux": newMuxPeer(t)} {
		if err := p.stopHalfWay(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		got, err := p.ask(t.Context(), 8)
		if err != nil {
			t.Fatal(err)
		}
		text := string(binary.BigEndian.AppendUint64(nil, got))
		t.Logf("%s answers %#x, %q", name, got, text)
		fileBytes := bytes.Contains(piece(7), []byte(text))
		if wantWrong := name == "pool"; fileBytes != wantWrong || (got == sumOf(8)) == wantWrong {
			t.Errorf("%s answers %#x; bytes of a file: %t, want %t", name, got, fileBytes, wantWrong)
		}
	}
}

// naivePool is the pool of the failing system: connections that whoever wants one takes and puts back.
type naivePool struct{ idle chan net.Conn }

const (
	naiveAsk  = 'a'
	naiveRead = 'r'
)

func newNaivePool(t *testing.T, conns int) *naivePool {
	l := listenForTest(t)
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { serveNaive(c) })
		}
	})
	p := &naivePool{idle: make(chan net.Conn, conns)}
	for range conns {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		p.idle <- c
	}
	t.Cleanup(func() {
		for range conns {
			c := <-p.idle
			c.Close()
		}
		l.Close()
		served.Wait()
	})
	return p
}

// serveNaive answers one request after the other: an ask with eight bytes, a read with the file.
func serveNaive(c net.Conn) {
	defer c.Close()
	var req [9]byte
	for {
		if _, err := io.ReadFull(c, req[:]); err != nil {
			return
		}
		extent := binary.BigEndian.Uint64(req[1:])
		if req[0] == naiveAsk {
			if _, err := c.Write(binary.BigEndian.AppendUint64(nil, sumOf(extent))); err != nil {
				return
			}
			continue
		}
		for range controlPieces {
			if _, err := c.Write(piece(extent)); err != nil {
				return
			}
		}
	}
}

// request sends a request on any connection and reads len(answer) bytes, then puts the connection back
// as if nothing else could come.
func (p *naivePool) request(kind byte, extent uint64, answer []byte) error {
	c := <-p.idle
	defer func() { p.idle <- c }()
	if _, err := c.Write(binary.BigEndian.AppendUint64([]byte{kind}, extent)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, answer)
	return err
}

func (p *naivePool) ask(_ context.Context, extent uint64) (uint64, error) {
	var answer [8]byte
	err := p.request(naiveAsk, extent, answer[:])
	return binary.BigEndian.Uint64(answer[:]), err
}

func (p *naivePool) stopHalfWay(_ context.Context, extent uint64) error {
	return p.request(naiveRead, extent, make([]byte, len(piece(extent))))
}

// muxPeer does the same over one connection of wire/mux.
type muxPeer struct{ conn *mux.Conn }

func newMuxPeer(t *testing.T) *muxPeer {
	l := listenForTest(t)
	accepted := make(chan *mux.Conn, 1)
	go func() {
		defer close(accepted)
		c, err := l.Accept()
		if err != nil {
			return
		}
		var first [1]byte
		if _, err := io.ReadFull(c, first[:]); err != nil {
			return
		}
		if conn, err := mux.Server(t.Context(), c, mux.Config{Handler: mux.HandlerFunc(serveMux)}); err == nil {
			accepted <- conn
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := mux.Client(t.Context(), c, mux.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		l.Close()
		if server := <-accepted; server != nil {
			server.Close()
		}
	})
	return &muxPeer{conn}
}

func serveMux(_ context.Context, c *mux.ServerCall) {
	extent := binary.BigEndian.Uint64(c.Raw())
	if c.Op() == wire.OpReplicaSum {
		_ = c.Reply(nil, binary.BigEndian.AppendUint64(nil, sumOf(extent))) // the caller sees the failure
		return
	}
	for range controlPieces {
		if c.Send(piece(extent)) != nil {
			return
		}
	}
	_ = c.Reply(nil, nil)
}

func (p *muxPeer) ask(ctx context.Context, extent uint64) (uint64, error) {
	answer, err := p.conn.Call(ctx, mux.Request{Op: wire.OpReplicaSum, Session: wire.SessionRepair,
		Raw: binary.BigEndian.AppendUint64(nil, extent)})
	if err != nil {
		return 0, err
	}
	if len(answer.Raw) != 8 {
		return 0, fmt.Errorf("the answer has %d bytes, want 8", len(answer.Raw))
	}
	return binary.BigEndian.Uint64(answer.Raw), nil
}

func (p *muxPeer) stopHalfWay(ctx context.Context, extent uint64) error {
	s, err := p.conn.Open(ctx, mux.Request{Op: wire.OpReplicaRead, Session: wire.SessionRepair, End: true,
		Raw: binary.BigEndian.AppendUint64(nil, extent)})
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Recv()
	return err
}

func listenForTest(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
