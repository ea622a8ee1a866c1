package mux

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/wire"
)

// waiters serves calls that wait for the end of their context, and counts them.
type waiters struct{ running atomic.Int32 }

func (w *waiters) ServeCall(ctx context.Context, sc *ServerCall) {
	if sc.Op() == wire.OpStatus {
		_ = sc.Reply(nil, nil)
		return
	}
	w.running.Add(1)
	defer w.running.Add(-1)
	derived, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	<-derived.Done()
}

// requests makes requests of one operation, without waiting for anything.
func (p *rawPeer) requests(op wire.OpType, from, to int) {
	for id := from; id < to; id++ {
		p.write(wire.Header{Kind: wire.KindRequest, ID: uint64(id), Op: op, Session: wire.SessionClient, Flags: wire.FlagEnd},
			nil, nil)
	}
}

// A connection has some calls in flight at once, and more only slowly, until it has had responses.
func TestCallsOnTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(waiters)
		server, p := acceptRaw(t, pipePair, Config{PingEvery: -1, Handler: w})
		defer server.Close()
		running := func(want int, when string) {
			t.Helper()
			if synctest.Wait(); int(w.running.Load()) != want {
				t.Fatalf("%s: %d handlers run, want %d", when, w.running.Load(), want)
			}
		}
		go p.requests(wire.OpWait, 1, callsOnTrust+8)
		running(callsOnTrust+1, "at once")
		time.Sleep(distrustPause - 1) // virtual, as all time here
		running(callsOnTrust+1, "before the pause is over")
		time.Sleep(time.Nanosecond)
		running(callsOnTrust+2, "after a pause")
		time.Sleep(5 * distrustPause)
		running(callsOnTrust+7, "after six pauses")
	})
}

// Each response vouches for one more call.
func TestResponsesVouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(waiters)
		server, p := acceptRaw(t, pipePair, Config{PingEvery: -1, Handler: w})
		defer server.Close()
		const responses, all = 100, 100 + callsOnTrust
		go p.requests(wire.OpStatus, 1, responses+1)
		for range responses {
			if f := p.read(); f.Kind != wire.KindResponse {
				t.Fatalf("got %s", f.Header)
			}
		}
		begin := time.Now()
		p.requests(wire.OpWait, responses+1, responses+1+all)
		if synctest.Wait(); w.running.Load() != all || time.Since(begin) != 0 {
			t.Errorf("%d of %d handlers run after %s, want all at once", w.running.Load(), all, time.Since(begin))
		}
	})
}

// When the peer's connection ends its many calls end a few at a time, and when this side ends it all at once.
func TestManyCallsEnd(t *testing.T) {
	const calls = callsOnTrust
	for name, end := range map[string]func(server *Conn, p *rawPeer){
		"the peer hangs up": func(_ *Conn, p *rawPeer) { p.nc.Close() },
		"a bad frame":       func(_ *Conn, p *rawPeer) { p.writeBytes([]byte{0xff, 0xff, 0xff, 0xff}) },
		"this side closes":  func(server *Conn, _ *rawPeer) { server.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(waiters)
				server, p := acceptRaw(t, pipePair, Config{PingEvery: -1, Handler: w})
				p.requests(wire.OpWait, 1, calls+1)
				if synctest.Wait(); w.running.Load() != calls {
					t.Fatalf("%d handlers run, want %d", w.running.Load(), calls)
				}
				end(server, p)
				for left := calls - endAtOnce; left >= 0 && name != "this side closes"; left -= endAtOnce {
					if synctest.Wait(); int(w.running.Load()) != left {
						t.Fatalf("%d handlers run, want %d", w.running.Load(), left)
					}
					time.Sleep(endPause)
				}
				server.Close()
				if w.running.Load() != 0 {
					t.Errorf("%d handlers run after Close", w.running.Load())
				}
			})
		})
	}
}

// Between the connection's end and the moment when a handler is told of it, the handler cannot send.
func TestSendAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := make(chan error, 2*endAtOnce)
		server, p := acceptRaw(t, pipePair,
			Config{PingEvery: -1, Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
				<-sc.c.done
				sent <- errors.Join(sc.Send(make([]byte, borrowBytes+1)), sc.Reply(nil, nil))
			})})
		defer server.Close()
		for id := range uint64(cap(sent)) {
			p.write(wire.Header{Kind: wire.KindRequest, ID: id + 1, Op: 1, Session: 1, Flags: wire.FlagEnd | wire.FlagStream},
				nil, nil)
		}
		synctest.Wait()
		p.nc.Close()
		for range cap(sent) {
			if err := <-sent; wire.CodeOf(err) != wire.CodeConnection {
				t.Errorf("send: %v, want that the connection has ended", err)
			}
		}
	})
}

// A context derived from a handler's ends with it, without a goroutine that waits for that, and what is stopped
// is not run.
func TestDerivedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran, stopped atomic.Bool
		derivedErr := make(chan error, 2)
		server, p := acceptRaw(t, pipePair,
			Config{PingEvery: -1, Handler: HandlerFunc(func(ctx context.Context, _ *ServerCall) {
				derived, cancel := context.WithCancel(ctx)
				defer cancel()
				context.AfterFunc(ctx, func() { ran.Store(true) })
				stop := context.AfterFunc(ctx, func() { stopped.Store(true) })
				if !stop() || stop() {
					t.Error("stop: want true, then false")
				}
				if n := len((*ServerCall)(ctx.(*callContext)).watchers); n != 2 {
					t.Errorf("%d contexts watch the call's, want 2", n)
				}
				<-derived.Done()
				derivedErr <- derived.Err()
				late, cancelLate := context.WithCancel(ctx)
				defer cancelLate()
				<-late.Done()
				derivedErr <- late.Err()
			})})
		defer server.Close()
		p.requests(wire.OpWait, 1, 2)
		synctest.Wait()
		if ran.Load() {
			t.Error("run before the end")
		}
		p.write(wire.Header{Kind: wire.KindCancel, ID: 1, Op: wire.OpWait, Session: wire.SessionClient}, nil, nil)
		for range 2 {
			if err := <-derivedErr; !errors.Is(err, context.Canceled) {
				t.Errorf("derived context: %v", err)
			}
		}
		if synctest.Wait(); !ran.Load() || stopped.Load() {
			t.Errorf("ran %t, stopped one ran %t", ran.Load(), stopped.Load())
		}
	})
}

// What the peer did wrong is told from what may happen to anybody.
func TestAtFault(t *testing.T) {
	for name, c := range map[string]struct {
		hello []byte // instead of the right one
		then  func(p *rawPeer)
		want  bool
	}{
		"hangs up": {then: func(p *rawPeer) { p.nc.Close() }},
		"pong without a ping": {then: func(p *rawPeer) { p.write(wire.Header{Kind: wire.KindPong, ID: 1}, nil, nil) },
			want: true},
		"frame too large": {then: func(p *rawPeer) { p.writeBytes([]byte{0xff, 0xff, 0xff, 0xff}) }, want: true},
		"hello too large": {hello: []byte{0xff, 0xff, 0xff, 0xff}, want: true},
		"no hello":        {hello: wire.AppendFrame(nil, &wire.Header{Kind: wire.KindPing, ID: 1}, nil, nil), want: true},
		"hello of nothing": {hello: wire.AppendFrame(nil, &wire.Header{Kind: wire.KindHello}, []byte{0xc1}, nil),
			want: true},
		"hello, hung up":   {hello: []byte{40}},
		"another protocol": {hello: rawHello(t, wire.Hello{Magic: wire.Magic, MinVersion: 900, MaxVersion: 901})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var err error
				if c.hello == nil {
					server, p := acceptRaw(t, pipePair, Config{PingEvery: -1})
					c.then(p)
					<-server.Done()
					err = server.Err()
				} else {
					theirs, ours := net.Pipe()
					go func() {
						_, _ = theirs.Write(c.hello)
						if len(c.hello) > 1 {
							_, _ = theirs.Read(make([]byte, 4096))
						}
						theirs.Close()
					}()
					_, err = Server(t.Context(), ours, Config{})
				}
				if err == nil || AtFault(err) != c.want {
					t.Errorf("%v: at fault %t, want %t", err, AtFault(err), c.want)
				}
			})
		})
	}
}
