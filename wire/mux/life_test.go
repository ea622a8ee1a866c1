package mux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/wire"
)

var unaryRequest = Request{Op: wire.OpRead, Session: wire.SessionClient}

// A cancelled stream reaches its handler, and the connection goes on.
func TestCancelMidStream(t *testing.T) {
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		stopped := make(chan error, 1)
		flood := func(ctx context.Context, sc *ServerCall) {
			if !sc.Streams() {
				echo(ctx, sc)
				return
			}
			var err error
			for err == nil {
				err = sc.Send(make([]byte, 20<<10))
			}
			<-ctx.Done()
			stopped <- err
		}
		c, server := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(flood)})
		for range 20 {
			s, err := c.Open(t.Context(), unaryRequest)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Fatal(err)
			}
			s.Cancel()
			if _, err := s.Recv(); wire.CodeOf(err) != wire.CodeCancelled {
				t.Errorf("recv after cancel: %v", err)
			}
			s.Close()
			if err := <-stopped; wire.CodeOf(err) != wire.CodeCancelled {
				t.Errorf("handler stopped with %v", err)
			}
			if _, err := c.Call(t.Context(), unaryRequest); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(c.Drain(t.Context()), server.Drain(t.Context())); err != nil {
			t.Fatal(err)
		}
		// All that was taken of the session's credit has been given back.
		for i, s := range c.sessions {
			if s.used != s.owed || c.Stats().InFlight.Calls != 0 {
				t.Errorf("session %d: %d bytes used, %d owed", i, s.used, s.owed)
			}
		}
		if n := server.Stats().InFlight.Calls; n != 0 {
			t.Errorf("%d calls still served", n)
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cnc, snc := net.Pipe()
		seen := make(chan time.Duration, 1)
		c, _ := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(func(ctx context.Context, sc *ServerCall) {
			until, _ := ctx.Deadline()
			seen <- time.Until(until)
			<-ctx.Done()
			_ = sc.Fail(ctx.Err())
		})})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.Call(ctx, unaryRequest)
		if wire.CodeOf(err) != wire.CodeDeadline || wire.OutcomeOf(err) != wire.Unknown {
			t.Errorf("got %v, want a deadline with outcome unknown", err)
		}
		if d := <-seen; d != time.Second {
			t.Errorf("the handler had %s, want 1s", d)
		}
		<-ctx.Done() // the handler's error may have come at the very same time
		if _, err := c.Call(ctx, unaryRequest); wire.OutcomeOf(err) != wire.NotDone ||
			!errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call after its deadline: %v, want not done", err)
		}
	})
}

// The handler's context ends at the deadline even if the caller says nothing, also in Recv.
func TestDeadlineOnServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		_, p := acceptRaw(t, pipePair, Config{PingEvery: -1, Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
			_, err := sc.Recv()
			failed <- err
		})})
		p.write(wire.Header{Kind: wire.KindRequest, ID: 1, Op: 1, Session: 1, Flags: wire.FlagStream, Deadline: 1000}, nil,
			nil)
		if err := <-failed; wire.CodeOf(err) != wire.CodeDeadline {
			t.Errorf("recv: %v, want a deadline", err)
		}
		if f := p.read(); f.Kind != wire.KindError {
			t.Errorf("got %s, want an error", f.Header)
		}
	})
}

func TestFailures(t *testing.T) {
	want := &wire.Error{Op: wire.OpRead, Code: wire.CodeNotFound, Outcome: wire.NotDone, Node: "n9", Detail: "no extent 7"}
	handler := func(_ context.Context, sc *ServerCall) {
		switch sc.Op() {
		case wire.OpRead:
			_ = sc.Fail(fmt.Errorf("deep down: %w", want))
		case wire.OpPut:
			_ = sc.Fail(errors.New("odd"))
		case wire.OpAppend:
			if err := sc.Reply(nil, make([]byte, wire.DefaultMaxFrameBytes)); wire.CodeOf(err) != wire.CodeInvalid {
				t.Errorf("reply over the limit: %v", err)
			}
			if err := sc.Reply(nil, nil); err != nil {
				t.Error(err)
			}
			if err := sc.Reply(nil, nil); !errors.Is(err, ErrEnded) {
				t.Errorf("second reply: %v", err)
			}
		}
	}
	cnc, snc := tcpPair(t)
	c, _ := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(handler)})
	var got *wire.Error
	if _, err := c.Call(t.Context(), unaryRequest); !errors.As(err, &got) || *got != *want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, op := range []wire.OpType{wire.OpPut, wire.OpVerify} {
		if _, err := c.Call(t.Context(), Request{Op: op, Session: 1}); wire.CodeOf(err) != wire.CodeInternal ||
			wire.OutcomeOf(err) != wire.Unknown {
			t.Errorf("%s: %v, want internal, outcome unknown", op, err)
		}
	}
	if _, err := c.Call(t.Context(), Request{Op: wire.OpAppend, Session: 1}); err != nil {
		t.Error(err)
	}
	if _, err := c.Call(t.Context(), Request{Op: wire.OpRead, Session: 1,
		Raw: make([]byte, wire.DefaultMaxFrameBytes)}); wire.CodeOf(err) != wire.CodeInvalid {
		t.Errorf("request over the limit: %v", err)
	}
	if _, err := c.Call(t.Context(), Request{Op: wire.OpRead, Session: 77}); wire.CodeOf(err) != wire.CodeInvalid {
		t.Errorf("unknown session: %v", err)
	}
}

func TestInFlightLimit(t *testing.T) {
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		release := make(chan struct{})
		started := make(chan struct{}, 2)
		c, server := connect(t, cnc, snc, Config{},
			Config{MaxInFlight: 2, Handler: HandlerFunc(func(ctx context.Context, sc *ServerCall) {
				started <- struct{}{}
				<-release
				echo(ctx, sc)
			})})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := c.Call(t.Context(), unaryRequest); err != nil {
					t.Error(err)
				}
			})
			<-started
		}
		if _, err := c.Call(t.Context(), unaryRequest); wire.CodeOf(err) != wire.CodeExhausted ||
			wire.OutcomeOf(err) != wire.NotDone {
			t.Errorf("third call: %v, want exhausted", err)
		}
		for side, s := range map[string]Stats{"client": c.Stats(), "server": server.Stats()} {
			if s.InFlight.Calls != 2 || s.InFlight.ByKind[CallKind{wire.OpRead, wire.SessionClient}] != 2 ||
				s.InFlight.Oldest.Op != wire.OpRead || len(s.Sessions) != 1 || s.Sessions[0].Calls != 2 ||
				s.InFlight.OldestAge <= 0 {
				t.Errorf("%s stats: %+v", side, s.InFlight)
			}
		}
		c.limits.calls = 3 // a peer that does not keep to it
		if _, err := c.Call(t.Context(), unaryRequest); wire.CodeOf(err) != wire.CodeExhausted {
			t.Errorf("third call, insisting: %v, want exhausted", err)
		}
		close(release)
		wg.Wait()
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cnc, snc := net.Pipe()
		release := make(chan struct{})
		c, server := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(func(ctx context.Context, sc *ServerCall) {
			<-release
			echo(ctx, sc)
		})})
		var finished atomic.Bool
		go func() {
			if _, err := c.Call(t.Context(), unaryRequest); err != nil {
				t.Error(err)
			}
			finished.Store(true)
		}()
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- server.Drain(context.Background()) }()
		synctest.Wait()
		if len(drained) > 0 || finished.Load() {
			t.Error("drained with a call in flight")
		}
		if _, err := c.Call(t.Context(), unaryRequest); wire.CodeOf(err) != wire.CodeUnavailable ||
			wire.OutcomeOf(err) != wire.NotDone {
			t.Errorf("new call while draining: %v, want unavailable", err)
		}
		close(release)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !finished.Load() {
			t.Error("the call in flight did not end")
		}
		if err := server.Drain(context.Background()); err != nil {
			t.Errorf("draining again: %v", err)
		}
	})
}

func TestCloseEndsHandlers(t *testing.T) {
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		started := make(chan struct{})
		var ended atomic.Bool
		c, server := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(func(ctx context.Context, _ *ServerCall) {
			close(started)
			<-ctx.Done()
			ended.Store(true)
		})})
		result := make(chan error)
		go func() {
			_, err := c.Call(t.Context(), unaryRequest)
			result <- err
		}()
		<-started
		server.Close()
		if !ended.Load() {
			t.Error("Close returned before the handler did")
		}
		if err := <-result; wire.CodeOf(err) != wire.CodeConnection {
			t.Errorf("call: %v", err)
		}
	})
}

func TestWrongPeer(t *testing.T) {
	cases := map[string]struct {
		client, server Config
		want           wire.Code
	}{
		"other cell":     {Config{Hello: wire.Hello{Cell: "c1"}}, Config{Hello: wire.Hello{Cell: "c2"}}, wire.CodeWrongCell},
		"expected cell":  {Config{ExpectCell: "c1"}, Config{Hello: wire.Hello{Cell: "c2"}}, wire.CodeWrongCell},
		"expected node":  {Config{ExpectNode: "n1"}, Config{Hello: wire.Hello{Node: "n2"}}, wire.CodeWrongCell},
		"newer protocol": {Config{}, Config{Hello: wire.Hello{MinVersion: 7, MaxVersion: 9}}, wire.CodeProtocol},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			cnc, snc := tcpPair(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				takePreamble(t, snc)
				if s, err := Server(context.Background(), snc, test.server); err == nil {
					s.Close()
				}
			}()
			if _, err := Client(t.Context(), cnc, test.client); wire.CodeOf(err) != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
			<-done
		})
	}
}

func BenchmarkCall(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		var preamble [1]byte
		_, _ = io.ReadFull(nc, preamble[:])
		s, err := Server(context.Background(), nc, Config{Handler: HandlerFunc(echo)})
		if err == nil {
			<-s.Done()
			s.Close()
		}
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c, err := Client(context.Background(), nc, Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	b.SetParallelism(64)
	body := wire.Encoded{0x91, 7}
	var boxed any = body
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Call(context.Background(), Request{Op: wire.OpStatus, Session: wire.SessionClient,
				Body: boxed}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// After a call was answered its late chunks are dropped, but not when they are of another operation.
func TestLateChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := acceptRaw(t, pipePair,
			Config{PingEvery: -1, Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) { _ = sc.Reply(nil, nil) })})
		h := wire.Header{Kind: wire.KindRequest, ID: 1, Op: wire.OpPut, Session: wire.SessionAppend, Flags: wire.FlagStream}
		p.write(h, nil, nil)
		if f := p.read(); f.Kind != wire.KindResponse {
			t.Fatalf("got %s", f.Header)
		}
		synctest.Wait() // its handler has returned: only the call's name is still known
		h.Kind, h.Flags = wire.KindChunk, 0
		p.write(h, nil, []byte("late"))
		p.write(wire.Header{Kind: wire.KindPing, ID: 3}, nil, nil)
		if f := p.read(); f.Kind != wire.KindPong || f.ID != 3 {
			t.Fatalf("got %s, want the pong", f.Header)
		}
		h.Op++
		p.write(h, nil, []byte("wrong"))
		p.hungUp()
		<-c.Done()
		var m *Mismatch
		if !errors.As(c.Err(), &m) || m.Kind != MismatchOperation {
			t.Errorf("ended with %v, want a mismatch of the operation", c.Err())
		}
	})
}
