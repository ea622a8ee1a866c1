package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// safety says whether a call that failed may be made again.
type safety func(err error) bool

// onlyUndone is for calls that must not be made twice.
func onlyUndone(err error) bool { return transient(err, wire.NotDone) }

// repeatable is for calls that read, or are idempotent.
func repeatable(err error) bool {
	return transient(err, wire.NotDone) || transient(err, wire.Unknown)
}

// transient tells whether err may be gone at another node, or a little later, and has this outcome.
func transient(err error, outcome wire.Outcome) bool {
	e := (*wire.Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case wire.CodeUnavailable, wire.CodeConnection, wire.CodeExhausted:
		return e.Outcome == outcome
	}
	return false
}

// route says where a call may go.
type route struct {
	addr string // this address and no other; empty: any of the cell's
	// latest asks for a node that has applied all that this client has been told of.
	latest bool
}

// run makes attempts until one succeeds, fails for good, or patience ends. An attempt gets a
// connection; it is made at one address after the other, the one that answered last first.
func (c *Client) run(ctx context.Context, op wire.OpType, to route, safe safety, attempt func(*mux.Conn) error) error {
	addrs, first := c.opts.Addrs, int(c.preferred.Load())
	if to.addr != "" {
		addrs, first = []string{to.addr}, 0
	}
	t := trial{op: op, addrs: addrs, said: make([]string, len(addrs)), start: c.opts.Clock.Now()}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		for i := range addrs {
			at := (first + i) % len(addrs)
			err := c.attempt(ctx, addrs[at], attempt)
			if err == nil {
				if to.addr == "" {
					c.preferred.Store(int32(at))
				}
				return nil
			}
			if t.note(at, err, safe); !t.again {
				return err
			}
			if ctx.Err() != nil {
				return t.ended(ctx)
			}
		}
		if t.tried(c.opts.Clock.Now()) >= t.patience(&c.opts) {
			return t.unavailable()
		}
		if err := c.pause(ctx, pause); err != nil {
			return t.ended(ctx)
		}
	}
}

// notConnected is a failure before anything was sent.
type notConnected struct{ cause error }

func (e *notConnected) Error() string { return dialText(e.cause) }
func (e *notConnected) Unwrap() error { return e.cause }

func (c *Client) attempt(ctx context.Context, addr string, attempt func(*mux.Conn) error) error {
	conn, err := c.conns.get(ctx, addr)
	switch {
	case errors.Is(err, ErrClosed):
		return err
	case err != nil:
		return &notConnected{err}
	}
	return attempt(conn)
}

// pause waits for d. The error says that waiting is of no use.
func (c *Client) pause(ctx context.Context, d time.Duration) error {
	over := make(chan struct{})
	stop := c.opts.Clock.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return ErrClosed
	}
}

// trial is what became of the attempts of one call.
type trial struct {
	op      wire.OpType
	addrs   []string
	said    []string // by address: how the newest attempt there failed
	start   time.Time
	again   bool // the newest failure may be retried
	reached bool // a node has answered, or at least been connected to
	unknown bool // an attempt may have done its work
}

// note records how an attempt at addrs[at] failed.
func (t *trial) note(at int, err error, safe safety) {
	if no := (*notConnected)(nil); errors.As(err, &no) {
		t.again, t.said[at] = true, no.Error()
		return
	}
	t.reached = true
	t.again = safe(err)
	t.unknown = t.unknown || wire.OutcomeOf(err) == wire.Unknown
	t.said[at] = err.Error()
	if e := (*wire.Error)(nil); errors.As(err, &e) {
		t.said[at] = e.Detail
	}
}

func (t *trial) tried(now time.Time) time.Duration { return now.Sub(t.start) }

func (t *trial) patience(o *Options) time.Duration {
	if t.reached {
		return o.RetryFor
	}
	return o.ConnectFor
}

// ended is the error of a call whose context, or whose client, ended between two attempts.
func (t *trial) ended(ctx context.Context) error {
	switch err := ctx.Err(); {
	case err == nil:
		return ErrClosed
	case errors.Is(err, context.Canceled):
		return &givenUp{&wire.Error{Op: t.op, Code: wire.CodeCancelled, Outcome: t.outcome(), Detail: "given up by the caller; last, " + t.answers()}, err}
	}
	return t.unavailable()
}

// givenUp is a wire error whose cause is the caller's own context.
type givenUp struct{ e, cause error }

func (g *givenUp) Error() string   { return g.e.Error() }
func (g *givenUp) Unwrap() []error { return []error{g.e, g.cause} }

func (t *trial) outcome() wire.Outcome {
	if t.unknown {
		return wire.Unknown
	}
	return wire.NotDone
}

func (t *trial) unavailable() error {
	e := &wire.Error{Op: t.op, Code: wire.CodeUnavailable, Outcome: t.outcome()}
	if !t.reached {
		e.Detail = fmt.Sprintf("no node of the cell could be reached: %s; check that a node is running there, or name other addresses", t.answers())
		return e
	}
	e.Detail = fmt.Sprintf("the cell does not serve this now: %s; try again when most of its nodes are up", t.answers())
	if t.unknown {
		e.Detail += ", and look first whether it was done"
	}
	return e
}

func (t *trial) answers() string {
	var all []string
	for i, said := range t.said {
		if said != "" {
			all = append(all, t.addrs[i]+": "+said)
		}
	}
	return strings.Join(all, "; ")
}

// dialText is why a connection was not made, without what the reader knows: "dial tcp 127.0.0.1:7400:".
func dialText(err error) string {
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	if call := (*os.SyscallError)(nil); errors.As(err, &call) {
		err = call.Err
	}
	if e := (*wire.Error)(nil); errors.As(err, &e) {
		return e.Detail
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no connection in time"
	}
	return err.Error()
}
