package api

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeOps lists operations by ID.
func (a *API) ServeOps(ctx context.Context, c *mux.ServerCall, req wire.OpsRequest) error {
	var after state.OpID
	if req.After != "" {
		id, err := parseOp(req.After)
		if err != nil {
			return err
		}
		after = id + 1
	}
	limit := pageLimit(req.Limit)
	view := a.o.Log.View()
	look := a.o.Lead.LookAt(view)
	var reply wire.OpsReply
	view.Ops(after, func(o *state.Op) bool {
		if (req.Open && o.State.Ended()) || (req.Extent != 0 && uint64(o.Extent) != req.Extent) {
			return true
		}
		if len(reply.Ops) == limit {
			reply.More = true
			return false
		}
		op := describe.Op(view, o, false)
		op.Blocked = look.Blocked(o)
		reply.Ops = append(reply.Ops, op)
		return true
	})
	return c.Reply(&reply, nil)
}

// ServeShowOp says all that is known of an operation.
func (a *API) ServeShowOp(ctx context.Context, c *mux.ServerCall, req wire.ShowOpRequest) error {
	id, err := parseOp(req.Op)
	if err != nil {
		return err
	}
	return a.replyOp(ctx, c, id)
}

func (a *API) replyOp(ctx context.Context, c *mux.ServerCall, id state.OpID) error {
	a.waitFor(ctx, id)
	view := a.o.Log.View()
	o := view.Op(id)
	if o == nil {
		return wire.Errorf(c.Op(), wire.CodeNotFound,
			"there is no operation %s, or it ended long ago; see log show %d", id, id.Index())
	}
	out := describe.Op(view, o, true)
	out.Blocked = a.o.Lead.LookAt(view).Blocked(o)
	return c.Reply(&out, nil)
}

// waitFor gives this node a moment to hear of an operation: its ID says which entry admitted it.
func (a *API) waitFor(ctx context.Context, id state.OpID) {
	if id.Index() > a.o.Log.CommitIndex() && a.o.Log.IsLeader() {
		return // it cannot exist
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if id.Index() > a.o.Log.AppliedIndex() && a.o.CatchUp(ctx) != nil {
		a.o.Logger.Debug("asked for an operation that is not known here", "op", id.String())
	}
}

// ServeWait answers when all operations have ended, or when the caller's patience has.
func (a *API) ServeWait(ctx context.Context, c *mux.ServerCall, req wire.WaitRequest) error {
	if len(req.Ops) > maxSubmissions {
		return wire.Errorf(c.Op(), wire.CodeInvalid, "%d operations at once; at most %d", len(req.Ops), maxSubmissions)
	}
	ids := make([]state.OpID, len(req.Ops))
	for i, s := range req.Ops {
		id, err := parseOp(s)
		if err != nil {
			return err
		}
		ids[i] = id
		a.waitFor(ctx, id)
	}
	patience := a.o.Clock.After(min(time.Duration(req.WaitMicros)*time.Microsecond, maxWait))
	for {
		changed := a.o.Log.Changed()
		reply, open, err := a.lookAtOps(ctx, c, ids)
		if err != nil {
			return err
		}
		if open == 0 {
			return c.Reply(reply, nil)
		}
		select {
		case <-changed:
		case <-patience:
			return c.Reply(reply, nil)
		case <-ctx.Done():
			return ctx.Err()
		case <-a.o.Draining:
			return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is stopping; ask another node", a.o.Node)
		case <-a.o.Stopped:
			return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is stopping; ask another node", a.o.Node)
		}
	}
}

// lookAtOps says where operations stand, and how many of them are open.
func (a *API) lookAtOps(ctx context.Context, c *mux.ServerCall, ids []state.OpID) (*wire.OpsReply, int, error) {
	if len(ids) > FewOps {
		done, err := a.turn(ctx, c, fair.WorkLists)
		if err != nil {
			return nil, 0, err
		}
		defer done()
	}
	return describe.Ops(a.o.Log.View(), ids)
}
