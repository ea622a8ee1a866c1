package api

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeLogList reads a page of a node's log.
func (a *API) ServeLogList(ctx context.Context, c *mux.ServerCall, req wire.LogRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	done, err := a.turn(ctx, c, fair.WorkLists)
	if err != nil {
		return err
	}
	defer done()
	limit := uint64(logPage)
	if req.Limit > 0 {
		limit = min(limit, uint64(req.Limit))
	}
	last := uint64(a.o.Log.AppliedIndex())
	to := last
	if req.To != 0 {
		to = min(to, req.To)
	}
	from := req.From
	if from == 0 {
		from = to - min(to, limit) + 1
	}
	to = min(to, from+limit-1)
	reply := wire.LogReply{Node: string(a.o.Node), Last: last}
	first, err := a.o.Log.FirstIndex()
	if err != nil {
		return err
	}
	reply.First = uint64(first)
	from = max(from, reply.First)
	if from > to {
		return c.Reply(&reply, nil)
	}
	page := logEntries{newest: req.From == 0}
	err = a.o.Log.Entries(state.Index(from), state.Index(to), func(e raftlog.EntryInfo) bool {
		skip := 0
		if uint64(e.Index) == req.From {
			skip = req.Skip
		}
		return page.add(cutEntry(describe.Entry(e), skip))
	})
	reply.Entries = page.entries
	if err != nil {
		return wire.Errorf(c.Op(), wire.CodeCorrupt, "read the log of %s: %v", a.o.Node, err)
	}
	return c.Reply(&reply, nil)
}

// ServeLogVerify reads all of a node's log and checks its sums.
func (a *API) ServeLogVerify(ctx context.Context, c *mux.ServerCall, req wire.LogVerifyRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	done, err := a.turn(ctx, c, fair.WorkLog)
	if err != nil {
		return err
	}
	defer done()
	report, err := a.o.Log.Verify(ctx)
	if err != nil {
		return err
	}
	out := describe.Verified(report)
	out.Node = string(a.o.Node)
	return c.Reply(&out, nil)
}

// ServeLogChain says what a node's log had come to at an index.
func (a *API) ServeLogChain(ctx context.Context, c *mux.ServerCall, req wire.LogChainRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	done, err := a.turn(ctx, c, fair.WorkLists)
	if err != nil {
		return err
	}
	defer done()
	point := a.o.Log.Chain()
	if req.Index != 0 && state.Index(req.Index) != point.Index {
		var err error
		if point, err = a.o.Log.ChainAt(state.Index(req.Index)); err != nil {
			return err
		}
	}
	first, err := a.o.Log.FirstIndex()
	if err != nil {
		return err
	}
	return c.Reply(&wire.LogChainReply{
		Node: string(a.o.Node), Index: uint64(point.Index), First: uint64(first), Chain: fmt.Sprintf("%x", point.Hash),
	}, nil)
}
