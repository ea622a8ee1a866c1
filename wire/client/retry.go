package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// transient reports whether err may be gone at another node, or a little later, and has this outcome.
func transient(err error, outcome wire.Outcome) bool {
	e := (*wire.Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case wire.CodeUnavailable, wire.CodeConnection, wire.CodeExhausted, wire.CodeNoSpace:
		return e.Outcome == outcome
	}
	return false
}

// route says where a call may go.
type route struct {
	addr string // this address and no other; empty: any of the cell's
	// latest asks for a node that has applied all that this client has seen in answers.
	latest bool
}

// run makes attempts until one succeeds, fails for good, or patience ends. An attempt gets a
// connection; it is made at one address after the other, the one that answered last first.
func (c *Client) run(ctx context.Context, op wire.OpType, to route, safe safety, attempt func(*mux.Conn) error) error {
	addrs, first := c.addrs(), int(c.preferred.Load())
	if to.addr != "" {
		addrs, first = []string{to.addr}, 0
	}
	t := trial{op: op, addr: to.addr, tls: c.opts.TLS != nil, addrs: addrs, said: make([]error, len(addrs))}
	w := c.wait(op)
	defer w.end()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		for i := range addrs {
			at := (first + i) % len(addrs)
			if t.verdict(at) != 0 {
				continue
			}
			w.asks(addrs[at])
			err := c.attempt(ctx, addrs[at], attempt)
			if err == nil {
				if to.addr == "" {
					c.preferred.Store(int32(at))
				}
				return nil
			}
			if t.start.IsZero() { // a put may have gone well for an hour
				t.start = c.opts.Clock.Now()
			}
			w.failed(addrs[at], err)
			if t.note(at, err, safe); !t.again {
				return err
			}
			if ctx.Err() != nil {
				return t.ended(ctx)
			}
		}
		if t.settled() || t.full() || t.tried(c.opts.Clock.Now()) >= t.patience(&c.opts) {
			return t.unavailable()
		}
		if err := c.pause(ctx, max(pause, t.retryAfter())); err != nil {
			return t.ended(ctx)
		}
	}
}

// longestRetryAfter bounds what nodes may have a call wait for at once.
const longestRetryAfter = 5 * time.Second

// retryAfter is when the first of the nodes that have said so is to be asked again: a little later for some, so that
// those that were refused at once do not come back at once.
func (t *trial) retryAfter() time.Duration {
	var first time.Duration
	for _, err := range t.said {
		if after := min(wire.RetryAfter(err), longestRetryAfter); after > 0 && (first == 0 || after < first) {
			first = after
		}
	}
	if first == 0 {
		return 0
	}
	return first + rand.N(first)
}

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

// pause waits for d. The error says that waiting cannot help.
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
	addr    string // the one address it is for; empty: any of the cell's
	tls     bool
	addrs   []string
	said    []error   // by address: how the newest attempt there failed
	start   time.Time // of the first failure
	again   bool      // the newest failure may be retried
	reached bool      // a node has answered, or at least been connected to
	unknown bool      // an attempt may have done its work
}

// note records how an attempt at addrs[at] failed.
func (t *trial) note(at int, err error, safe safety) {
	t.said[at] = err
	if no := (*notConnected)(nil); errors.As(err, &no) {
		t.again = true
		return
	}
	t.reached = true
	t.again = safe(err)
	t.unknown = t.unknown || wire.OutcomeOf(err) == wire.Unknown
}

// verdict is what the other side at addrs[at] has said for good, see notConnected; 0: nothing.
func (t *trial) verdict(at int) wire.Code {
	if no := (*notConnected)(nil); errors.As(t.said[at], &no) {
		return no.verdict()
	}
	return 0
}

// settled reports whether nothing is left to try.
func (t *trial) settled() bool {
	for at := range t.addrs {
		if t.verdict(at) == 0 {
			return false
		}
	}
	return true
}

// full reports whether every address has said that there is no room: that does not change in a moment.
func (t *trial) full() bool {
	for _, err := range t.said {
		if wire.CodeOf(err) != wire.CodeNoSpace {
			return false
		}
	}
	return true
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
		return &givenUp{&wire.Error{Op: t.op, Code: wire.CodeCancelled, Outcome: t.outcome(),
			Detail: "given up by the caller; last, " + t.answers()}, err}
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
	switch {
	case t.settled():
		e.Code, e.Detail = t.verdict(0), t.answers()
		return e
	case t.full():
		e.Code, e.Detail = wire.CodeNoSpace, t.answers()
		return e
	case !t.reached:
		return t.unreachable(e)
	}
	e.Detail = fmt.Sprintf("the cell does not serve this now: %s; try again when most of its nodes are up", t.answers())
	if t.addr == "" && len(t.addrs) == 1 {
		e.Detail += ", or name other nodes of the cell, too (--addr)"
	}
	if t.unknown && changes(t.op) {
		e.Detail += ", and look first whether it was done"
	}
	return e
}

func (t *trial) unreachable(e *wire.Error) error {
	e.Detail = "no node of the cell could be reached: " + t.answers()
	if t.addr != "" {
		e.Detail = "the node could not be reached: " + t.answers()
	}
	u := &Unreachable{Err: e, Addr: t.addr, TLS: t.tls}
	for _, err := range t.said {
		if no := (*notConnected)(nil); errors.As(err, &no) {
			u.Silent = u.Silent || no.silent()
			u.HungUp = u.HungUp || no.hungUp()
		}
	}
	return u
}

// changes reports whether a call leaves the cell other than it was.
func changes(op wire.OpType) bool {
	switch op {
	case wire.OpPut, wire.OpAppend, wire.OpPunch, wire.OpSubmit, wire.OpCancel, wire.OpNodeRemove, wire.OpSetting,
		wire.OpDiskChange, wire.OpPause, wire.OpUndelete,
		wire.OpPolicyLoad, wire.OpPolicyActivate, wire.OpPolicyRollback:
		return true
	}
	return false
}

func (t *trial) answers() string {
	var all []string
	for i, err := range t.said {
		if err == nil {
			continue
		}
		text := err.Error()
		if e := (*wire.Error)(nil); !errors.As(err, new(*notConnected)) && errors.As(err, &e) {
			text = e.Detail
		}
		all = append(all, t.addrs[i]+": "+text)
	}
	return strings.Join(all, "; ")
}
