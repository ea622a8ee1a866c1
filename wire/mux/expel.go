package mux

import (
	"context"
	"maps"
	"slices"

	"github.com/datanode/datanode/wire"
)

// Expel ends the connection because of who the peer is. The calls that are served fail with why, and are not answered
// in any other way from here on, whatever their handlers come to; the peer has until ctx ends to read that. Calls to
// the peer fail at once. It returns as Close does.
func (c *Conn) Expel(ctx context.Context, why *wire.Error) {
	if !c.dialed {
		c.failServed(why)
		_ = c.Drain(ctx) // the peer need not read what is sent
	}
	c.fail(why)
	c.wg.Wait()
}

func (c *Conn) failServed(why *wire.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.draining = true
	for _, sc := range slices.Collect(maps.Values(c.served)) {
		if sc.answered {
			continue
		}
		// The handler may be about to be done, or have done half of it.
		told := wire.Error{Op: sc.op, Code: why.Code, Outcome: wire.Unknown, Node: c.cfg.Hello.Node, Detail: why.Detail}
		body, err := wire.Marshal(&told)
		sc.cancelLocked(context.Canceled, &told)
		sc.answered = true
		if err != nil {
			continue // the connection's end tells as much
		}
		c.pushLocked(outFrame{served: sc, buf: &buffer{b: body}, bodyLen: len(body),
			hdr: wire.Header{Kind: wire.KindError, ID: sc.id, Op: sc.op, Session: sc.session}})
	}
}
