package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	listLimit   = 1000             // items of one page
	maxWait     = time.Minute      // of one OpWait; the caller asks again
	fewOps      = 16               // a look at no more is cheap, and needs no turn: all who wait look at each change
	catchUpWait = 10 * time.Second // for an operation that this node has not heard of yet
)

func (n *Node) serveOps(ctx context.Context, c *mux.ServerCall, req wire.OpsRequest) error {
	var after state.OpID
	if req.After != "" {
		id, err := parseOp(req.After)
		if err != nil {
			return err
		}
		after = id + 1
	}
	limit := pageLimit(req.Limit)
	view := n.log.View()
	look := n.lead.LookAt(view)
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

func pageLimit(asked int) int {
	if asked <= 0 {
		return listLimit
	}
	return min(asked, listLimit)
}

func (n *Node) serveShowOp(ctx context.Context, c *mux.ServerCall, req wire.ShowOpRequest) error {
	id, err := parseOp(req.Op)
	if err != nil {
		return err
	}
	return n.replyOp(ctx, c, id)
}

func (n *Node) replyOp(ctx context.Context, c *mux.ServerCall, id state.OpID) error {
	n.waitFor(ctx, id)
	view := n.log.View()
	o := view.Op(id)
	if o == nil {
		return wire.Errorf(c.Op(), wire.CodeNotFound, "there is no operation %s, or it ended long ago; see log show %d", id, id.Index())
	}
	out := describe.Op(view, o, true)
	out.Blocked = n.lead.LookAt(view).Blocked(o)
	return c.Reply(&out, nil)
}

// waitFor gives this node a moment to hear of an operation: its ID tells which entry admitted it.
func (n *Node) waitFor(ctx context.Context, id state.OpID) {
	if id.Index() > n.log.CommitIndex() && n.log.IsLeader() {
		return // it cannot exist
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if id.Index() > n.log.AppliedIndex() && n.catchUp(ctx) != nil {
		n.logger.Debug("asked for an operation that is not known here", "op", id.String())
	}
}

// serveWait answers when all operations have ended, or when the caller's patience has.
func (n *Node) serveWait(ctx context.Context, c *mux.ServerCall, req wire.WaitRequest) error {
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
		n.waitFor(ctx, id)
	}
	patience := n.after(min(time.Duration(req.WaitMicros)*time.Microsecond, maxWait))
	for {
		changed := n.log.Changed()
		reply, open, err := n.lookAtOps(ctx, c, ids)
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
		case <-n.drainCh:
			return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is stopping; ask another node", n.id)
		case <-n.ctx.Done():
			return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is stopping; ask another node", n.id)
		}
	}
}

// lookAtOps tells where operations stand, and how many of them are open.
func (n *Node) lookAtOps(ctx context.Context, c *mux.ServerCall, ids []state.OpID) (*wire.OpsReply, int, error) {
	if len(ids) > fewOps {
		done, err := n.turn(ctx, c, fair.WorkLists)
		if err != nil {
			return nil, 0, err
		}
		defer done()
	}
	return describe.Ops(n.log.View(), ids)
}
