package mux

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/datanode/datanode/wire"
)

// Whoever finds no room learns in how long to ask again: for a request that is refused unread, for what a handler
// needs, and for its chunks. What a peer says is believed up to an hour.
func TestExhaustedSaysWhenToAskAgain(t *testing.T) {
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		b := NewBudget(0, 64<<10)
		client, _ := connect(t, cnc, snc, Config{}, Config{Share: b.NewShare(),
			Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
				switch sc.Op() {
				case wire.OpRead:
					_ = sc.Fail(sc.Hold(1 << 20))
				case wire.OpPut:
					_, err := sc.Recv()
					_ = sc.Fail(err)
				case wire.OpStatus:
					_ = sc.Fail(&wire.Error{Code: wire.CodeExhausted, Outcome: wire.NotDone, RetryAfter: 3 * time.Hour})
				default:
					_ = sc.Fail(wire.Errorf(0, wire.CodeUnavailable, "not now"))
				}
			})})
		for _, c := range []struct {
			op    wire.OpType
			raw   int
			after time.Duration
		}{
			{wire.OpRead, 0, retryAfter}, {wire.OpNodes, 200 << 10, retryAfter}, {wire.OpStatus, 0, time.Hour},
			{wire.OpNodes, 0, 0},
		} {
			_, err := client.Call(t.Context(), Request{Op: c.op, Session: wire.SessionClient, Raw: make([]byte, c.raw)})
			if got := wire.RetryAfter(err); err == nil || got != c.after {
				t.Errorf("%s with %d bytes: ask again after %s, want %s: %v", c.op, c.raw, got, c.after, err)
			}
		}
		s, err := client.Open(t.Context(), Request{Op: wire.OpPut, Session: wire.SessionClient})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_ = s.Send(make([]byte, 200<<10)) // fails if the answer is faster
		if _, err = s.Reply(); wire.RetryAfter(err) != retryAfter {
			t.Errorf("a chunk without room: ask again after %s, want %s: %v", wire.RetryAfter(err), retryAfter, err)
		}
	})
}
