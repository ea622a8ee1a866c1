package wiretest

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The numbers of the ordinary run are small. For the full one:
//
//	go test ./wire/wiretest -run TestTampered -tampered 100000
var (
	tampered = flag.Int("tampered", 1000, "how many frames are tampered with")
	seed     = flag.Uint64("seed", 1, "what they are chosen by")
)

const (
	callers = 8
	pieces  = 6
)

func sumOf(extent uint64) uint64 { return (extent + 1) * 0x9e3779b97f4a7c15 }

// piece is the i-th part of an extent's bytes; each says which it is.
func piece(extent uint64, i int) []byte {
	b := make([]byte, 0, 600)
	for len(b) < 600 {
		b = append(b, fmt.Sprintf("extent %d piece %d;", extent, i)...)
	}
	return b
}

// serve answers what the workload asks: a sum, the pieces of an extent, or how many pieces came in.
func serve(_ context.Context, c *mux.ServerCall) {
	extent := binary.BigEndian.Uint64(c.Raw())
	switch c.Op() {
	case wire.OpReplicaRead:
		for i := range pieces {
			if c.Send(piece(extent, i)) != nil {
				return
			}
		}
	case wire.OpReplicaAppend:
		for i := 0; ; i++ {
			b, err := c.Recv()
			if errors.Is(err, io.EOF) && i == pieces {
				break
			}
			if err != nil || string(b) != string(piece(extent, i)) {
				_ = c.Fail(wire.Errorf(c.Op(), wire.CodeCorrupt, "piece %d: %q, %v", i, b, err))
				return
			}
		}
	}
	_ = c.Reply(nil, binary.BigEndian.AppendUint64(nil, sumOf(extent)^uint64(c.Op()))) // the caller sees the failure
}

// do makes one call: it must be answered rightly or with a typed error.
func do(ctx context.Context, conn *mux.Conn, caller, n uint64) (failed bool, wrong error) {
	ops := []wire.OpType{wire.OpReplicaSum, wire.OpReplicaFence, wire.OpReplicaRead, wire.OpReplicaAppend}
	sessions := []wire.Session{wire.SessionRepair, wire.SessionControl, wire.SessionClient}
	extent := caller<<32 | n
	req := mux.Request{Op: ops[n%4], Session: sessions[n/4%3], Raw: binary.BigEndian.AppendUint64(nil, extent)}
	var reply mux.Reply
	var err error
	switch req.Op {
	case wire.OpReplicaRead, wire.OpReplicaAppend:
		reply, err = stream(ctx, conn, req, extent, n%5 == 0)
	default:
		reply, err = conn.Call(ctx, req)
	}
	if errors.Is(err, errStopped) {
		return false, nil
	}
	if err != nil {
		if code := wire.CodeOf(err); code != wire.CodeConnection {
			return true, fmt.Errorf("%s of %d: %w (code %s), want an answer or a connection error", req.Op, extent, err, code)
		}
		return true, nil
	}
	if want := binary.BigEndian.AppendUint64(nil, sumOf(extent)^uint64(req.Op)); string(reply.Raw) != string(want) {
		return false, fmt.Errorf("%s of %d: answered %x, want %x", req.Op, extent, reply.Raw, want)
	}
	return false, nil
}

// errStopped is of a stream that its caller has left half way.
var errStopped = errors.New("stopped half way")

func stream(ctx context.Context, conn *mux.Conn, req mux.Request, extent uint64, stop bool) (mux.Reply, error) {
	req.End = req.Op == wire.OpReplicaRead
	s, err := conn.Open(ctx, req)
	if err != nil {
		return mux.Reply{}, err
	}
	defer s.Close()
	if !req.End {
		for i := range pieces {
			if err := s.Send(piece(extent, i)); err != nil {
				break // the reply says why
			}
		}
		_ = s.CloseSend() // likewise
		return s.Reply()
	}
	for i := 0; ; i++ {
		b, err := s.Recv()
		switch {
		case errors.Is(err, io.EOF) && i == pieces:
			return s.Reply()
		case err != nil && !errors.Is(err, io.EOF):
			return mux.Reply{}, err
		case string(b) != string(piece(extent, i)):
			return mux.Reply{}, fmt.Errorf("piece %d of %d is %q, %w", i, extent, b, err)
		case stop && i == 1:
			return mux.Reply{}, errStopped
		}
	}
}

// session is one connection, from the greeting until it breaks or has done enough.
func session(t *testing.T, p *Proxy, round uint64, enough func() bool, failed *atomic.Uint64) {
	t.Helper()
	near, far := net.Pipe()
	served := make(chan *mux.Conn, 1)
	go func() {
		defer close(served)
		var first [1]byte
		if _, err := io.ReadFull(far, first[:]); err != nil {
			return
		}
		c, err := mux.Server(context.Background(), far, mux.Config{Handler: mux.HandlerFunc(serve), PingEvery: -1})
		if err == nil {
			served <- c
		}
	}()
	conn, err := mux.Client(t.Context(), p.Wrap(near), mux.Config{PingEvery: -1})
	if err != nil {
		t.Error(err)
		return
	}
	var wg sync.WaitGroup
	for caller := range uint64(callers) {
		wg.Go(func() {
			for n := round * 1000; conn.Err() == nil && !enough(); n++ {
				fails, wrong := do(t.Context(), conn, caller, n)
				if wrong != nil {
					t.Error(wrong)
				}
				if fails {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	conn.Close()
	if c := <-served; c != nil {
		c.Close()
	}
}

// Whatever is done to the frames, in either direction, no receiver takes one that was tampered with,
// and every call is answered rightly or fails with a typed error.
func TestTampered(t *testing.T) {
	want := *tampered
	if testing.Short() {
		want /= 2
	}
	p := New(Config{Seed: *seed, Harmless: 0.02, Spoiled: 0.02})
	var failed atomic.Uint64
	enough := func() bool { // a connection that takes a tampered frame does not end by itself
		r := p.Report()
		return r.Spoiled >= want || len(r.Accepted) > 0
	}
	var wg sync.WaitGroup
	for side := range uint64(2) { // so that answers can go to the other connection
		wg.Go(func() {
			for round := side; !enough(); round += 2 {
				session(t, p, round, enough, &failed)
			}
		})
	}
	wg.Wait()
	p.Wait()
	r := p.Report()
	t.Logf("seed %d: %s; %d calls failed", *seed, r, failed.Load())
	for _, a := range r.Accepted {
		t.Errorf("accepted: %s", a)
	}
	for k := Delay; k < tamperEnd; k++ {
		if r.Tampered[k] == 0 && want >= 500 {
			t.Errorf("no frame was tampered with by %s", k)
		}
	}
	if r.Ended != r.Spoiled || failed.Load() == 0 {
		t.Errorf("%d of %d connections have ended, %d calls failed", r.Ended, r.Spoiled, failed.Load())
	}
}

// A proxy that does nothing changes nothing.
func TestUntampered(t *testing.T) {
	p := New(Config{Seed: *seed})
	var failed atomic.Uint64
	session(t, p, 1, func() bool { return p.Report().Frames > 2000 }, &failed)
	p.Wait()
	if r := p.Report(); failed.Load() > 0 || r.Total() > 0 || len(r.Accepted) > 0 {
		t.Errorf("%d calls failed: %s", failed.Load(), r)
	}
}
