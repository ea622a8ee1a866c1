package wiretest

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// naivePool does what the failing system did: whoever wants a connection takes one, writes a request,
// takes the next answer for its own, and puts the connection back. Frames, lengths and CRCs are right;
// nobody looks at whose answer it is.
type naivePool struct {
	p    *Proxy
	idle chan *naiveConn
}

type naiveConn struct {
	nc net.Conn
	rd *bufio.Reader
	id uint64
}

// patience is how long a caller of the pool waits for an answer before it gives the connection up.
const patience = 2 * time.Second

func (n *naivePool) dial() (*naiveConn, error) {
	near, far := net.Pipe()
	go func() {
		var first [1]byte
		if _, err := io.ReadFull(far, first[:]); err != nil {
			return
		}
		c, err := mux.Server(context.Background(), far, mux.Config{Handler: mux.HandlerFunc(serve), PingEvery: -1})
		if err == nil {
			<-c.Done()
			c.Close()
		}
	}()
	c := &naiveConn{nc: n.p.Wrap(near)}
	hello := wire.Hello{Magic: wire.Magic, MinVersion: 1, MaxVersion: 1, MaxFrameBytes: 1 << 20, WindowBytes: 1 << 20,
		SessionWindowBytes: 1 << 20, MaxInFlight: 1}
	body, err := wire.Marshal(&hello)
	if err != nil {
		return nil, err
	}
	if _, err := c.nc.Write(wire.AppendFrame([]byte{wire.PreambleFrames}, &wire.Header{Kind: wire.KindHello}, body,
		nil)); err != nil {
		return nil, err
	}
	c.rd = bufio.NewReader(c.nc)
	_, err = readFrame(c.rd)
	return c, err
}

// ask asks for the sum of an extent. A connection that fails is closed, all others are used again.
func (n *naivePool) ask(extent uint64) (uint64, error) {
	c := <-n.idle
	if c == nil {
		var err error
		if c, err = n.dial(); err != nil {
			n.idle <- nil
			return 0, err
		}
	}
	sum, err := c.ask(extent)
	if err != nil {
		c.nc.Close()
		c = nil
	}
	n.idle <- c
	return sum, err
}

func (c *naiveConn) ask(extent uint64) (uint64, error) {
	c.id++
	late := time.AfterFunc(patience, func() { c.nc.Close() })
	defer late.Stop()
	h := wire.Header{Kind: wire.KindRequest, ID: c.id, Op: wire.OpReplicaSum, Session: wire.SessionRepair,
		Flags: wire.FlagEnd}
	if _, err := c.nc.Write(wire.AppendFrame(nil, &h, nil, binary.BigEndian.AppendUint64(nil, extent))); err != nil {
		return 0, err
	}
	for {
		f, err := readFrame(c.rd)
		if err != nil {
			return 0, err
		}
		if len(f.Raw) == 8 && f.ends() {
			return binary.BigEndian.Uint64(f.Raw), nil
		}
	}
}

// The same proxy in front of a client that does not match answers to calls: it takes wrong ones. If it
// did not, the test of the client that does would say nothing.
func TestNaivePoolTakesWrongAnswers(t *testing.T) {
	const conns, asks = 4, 500
	n := &naivePool{p: New(Config{Seed: *seed, Harmless: 0.02, Spoiled: 0.02}), idle: make(chan *naiveConn, conns)}
	for range conns {
		n.idle <- nil
	}
	var mu sync.Mutex
	wrong, failed := 0, 0
	var wg sync.WaitGroup
	for caller := range uint64(callers) {
		wg.Go(func() {
			for i := range uint64(asks) {
				extent := caller<<32 | i
				sum, err := n.ask(extent)
				mu.Lock()
				switch {
				case err != nil:
					failed++
				case sum != sumOf(extent)^uint64(wire.OpReplicaSum):
					wrong++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for range conns {
		if c := <-n.idle; c != nil {
			c.nc.Close()
		}
	}
	n.p.Wait()
	t.Logf("seed %d: %d wrong answers and %d failed calls of %d; %s", *seed, wrong, failed, callers*asks, n.p.Report())
	if wrong == 0 {
		t.Error("the naive pool took no wrong answer: this proxy does not show the failure")
	}
}
