package node

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

func (n *Node) serveExtents(ctx context.Context, c *mux.ServerCall, req wire.ExtentsRequest) error {
	if req.One {
		e, err := n.data.FreshExtent(ctx, state.ExtentID(req.From))
		if err != nil {
			return err
		}
		return c.Reply(&wire.ExtentsReply{Extents: []wire.Extent{describe.Extent(n.log.View(), e)}}, nil)
	}
	done, err := n.turn(ctx, c, fair.WorkLists)
	if err != nil {
		return err
	}
	defer done()
	view, limit := n.log.View(), pageLimit(req.Limit)
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

func (n *Node) serveNodes(ctx context.Context, c *mux.ServerCall) error {
	view := n.log.View()
	leader, _ := n.log.Leader()
	var reply wire.NodesReply
	look := n.lead.LookAt(view)
	view.Nodes(func(node *state.Node) bool {
		reply.Nodes = append(reply.Nodes, describe.Node(view, look, node, leader))
		return true
	})
	return c.Reply(&reply, nil)
}

func (n *Node) serveStatus(ctx context.Context, c *mux.ServerCall) error {
	view := n.log.View()
	leader, _ := n.log.Leader()
	counts, chain, disk := view.Counts(), n.log.Chain(), n.diskStatus()
	out := wire.Status{
		Cell: view.Cell, Node: string(n.id), Leader: string(leader), Term: n.log.Term(), Applied: uint64(n.log.AppliedIndex()),
		Commit: uint64(n.log.CommitIndex()), Chain: fmt.Sprintf("%x", chain.Hash), Ready: n.ready.Load(),
		Extents: counts.Extents, Replicas: counts.Replicas, Nodes: counts.Nodes, Queued: counts.Queued, Running: counts.Running,
		Dropping: counts.Drops, Policy: describe.PolicyName(view, view.Active), Digest: view.Active, Epoch: view.PolicyEpoch, Version: n.cfg.Version,
		Refuses: disk.Refuses, Free: disk.Free, Total: disk.Total,
	}
	view.Nodes(func(node *state.Node) bool {
		if node.State == state.NodeUp {
			out.Up++
		}
		return true
	})
	out.Lacking = describe.Lacking(view)
	out.Voters = n.voters(ctx, view, leader != "")
	if leader == "" {
		out.Since = n.lead.LeaderlessSince().UnixMicro()
	}
	out.Parted = n.divergences.Among(view)
	out.Quotas = describeUsage(view, n.quotas)
	out.ByKind, out.ByClass = describe.CountKinds(view), describe.CountClasses(view)
	out.ByNode = describe.CountNodes(view)
	return c.Reply(&out, nil)
}

func (n *Node) serveSettings(ctx context.Context, c *mux.ServerCall) error {
	var reply wire.SettingsReply
	n.log.View().Settings.Each(func(key, value, help string) {
		reply.Settings = append(reply.Settings, wire.Setting{Key: key, Value: value, Help: help})
	})
	return c.Reply(&reply, nil)
}
