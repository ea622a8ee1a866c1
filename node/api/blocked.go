package api

import (
	"context"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeBlocked lists what waits, and for what.
func (a *API) ServeBlocked(_ context.Context, c *mux.ServerCall, req wire.BlockedRequest) error {
	var after state.OpID
	if req.After != "" {
		id, err := parseOp(req.After)
		if err != nil {
			return err
		}
		after = id + 1
	}
	view, limit, looked := a.o.Log.View(), pageLimit(req.Limit), 0
	look := a.o.Lead.LookAt(view)
	var reply wire.BlockedReply
	if after == 0 {
		for _, w := range look.Awaited() { // as many as there are nodes
			reply.Blocked = append(reply.Blocked, describe.Blocked(&w))
		}
	}
	view.Ops(after, func(o *state.Op) bool {
		if o.State == state.OpQueued {
			if w := look.Wait(o); w != nil {
				reply.Blocked = append(reply.Blocked, describe.Blocked(w))
			}
			if looked++; looked == limit {
				reply.Next = o.ID.String()
			}
		}
		return reply.Next == ""
	})
	return c.Reply(&reply, nil)
}
