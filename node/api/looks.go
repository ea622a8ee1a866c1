package api

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeExtents lists extents by ID, or shows one.
func (a *API) ServeExtents(ctx context.Context, c *mux.ServerCall, req wire.ExtentsRequest) error {
	if req.One {
		e, err := a.o.FreshExtent(ctx, state.ExtentID(req.From))
		if err != nil {
			return err
		}
		return c.Reply(&wire.ExtentsReply{Extents: []wire.Extent{describe.Extent(a.o.Log.View(), e)}}, nil)
	}
	done, err := a.turn(ctx, c, fair.WorkLists)
	if err != nil {
		return err
	}
	defer done()
	view, limit := a.o.Log.View(), pageLimit(req.Limit)
	if req.Node != "" && view.Node(state.NodeID(req.Node)) == nil {
		return wire.Errorf(c.Op(), wire.CodeNotFound, "there is no node %s", req.Node)
	}
	var reply wire.ExtentsReply
	view.Extents(state.ExtentID(req.From), func(e *state.Extent) bool {
		if _, holds := e.Replica(state.NodeID(req.Node)); req.Node != "" && !holds {
			return true
		}
		if len(reply.Extents) == limit {
			reply.Next = uint64(e.ID)
			return false
		}
		reply.Extents = append(reply.Extents, describe.Extent(view, e))
		return true
	})
	return c.Reply(&reply, nil)
}

// ServeNodes lists all nodes.
func (a *API) ServeNodes(ctx context.Context, c *mux.ServerCall) error {
	view := a.o.Log.View()
	leader, _ := a.o.Log.Leader()
	var reply wire.NodesReply
	look := a.o.Lead.LookAt(view)
	view.Nodes(func(node *state.Node) bool {
		reply.Nodes = append(reply.Nodes, describe.Node(view, look, node, leader))
		return true
	})
	return c.Reply(&reply, nil)
}

// ServeStatus says how the cell is, and this node.
func (a *API) ServeStatus(ctx context.Context, c *mux.ServerCall) error {
	view := a.o.Log.View()
	leader, _ := a.o.Log.Leader()
	counts, chain, disk := view.Counts(), a.o.Log.Chain(), a.o.Disk()
	out := wire.Status{
		Cell: view.Cell, Node: string(a.o.Node), Leader: string(leader), Term: a.o.Log.Term(),
		Applied: uint64(a.o.Log.AppliedIndex()), Commit: uint64(a.o.Log.CommitIndex()), Chain: fmt.Sprintf("%x", chain.Hash),
		Ready: a.o.Ready(), Extents: counts.Extents, Replicas: counts.Replicas, Nodes: counts.Nodes,
		Queued: counts.Queued, Running: counts.Running, Dropping: counts.Drops,
		Policy: describe.PolicyName(view, view.Active), Digest: view.Active, Epoch: view.PolicyEpoch, Version: a.o.Version,
		Refuses: disk.Refuses, Free: disk.Free, Total: disk.Total,
		Kept: counts.Kept, KeptBytes: counts.KeptBytes,
	}
	view.Nodes(func(node *state.Node) bool {
		if node.State == state.NodeUp {
			out.Up++
		}
		return true
	})
	out.Lacking = describe.Lacking(view)
	out.Voters = a.o.Voters(ctx, view, leader != "")
	if leader == "" {
		out.Since = a.o.Lead.LeaderlessSince().UnixMicro()
	}
	out.Parted = a.o.Divergences.Among(view)
	out.Quotas = describe.Usage(view, a.o.Quotas.UnsealedBytes, listLimit)
	out.ByKind, out.ByClass = describe.CountKinds(view), describe.CountClasses(view)
	out.ByNode, out.Disks = describe.CountNodes(view), describe.Disks(view)
	out.Paused = describe.Pauses(view, leader)
	return c.Reply(&out, nil)
}
