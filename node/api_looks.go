package node

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

func (n *Node) serveExtents(ctx context.Context, c *mux.ServerCall, req wire.ExtentsRequest) error {
	if req.One {
		e, err := n.freshExtent(ctx, state.ExtentID(req.From))
		if err != nil {
			return err
		}
		return c.Reply(&wire.ExtentsReply{Extents: []wire.Extent{describeExtent(n.log.View(), e)}}, nil)
	}
	done, err := n.turn(ctx, c, workLists)
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
		reply.Extents = append(reply.Extents, describeExtent(view, e))
		return true
	})
	return c.Reply(&reply, nil)
}

func describeExtent(view *state.View, e *state.Extent) wire.Extent {
	out := wire.Extent{
		ID: uint64(e.ID), State: e.State.String(), Class: e.Class, Want: int(e.Want), Live: view.Live(e), Length: e.Length,
		Gen: e.Gen, Epoch: uint64(e.Epoch), Created: int64(e.CreatedMicros), Replicas: []wire.Replica{},
		Birth: wire.BirthText(e.Birth()),
	}
	if e.State == state.ExtentSealed {
		out.Sum = wire.SumText(e.Sum)
	}
	if e.Damaged {
		out.Damaged = []wire.Range{{From: e.DamagedFrom, To: e.DamagedTo}}
		if e.Whole() == 0 {
			out.Sum = "" // nobody knows it
		}
	}
	for _, r := range e.Replicas {
		nodeState := "unknown"
		if node := view.Node(r.Node); node != nil {
			nodeState = node.State.String()
		}
		out.Replicas = append(out.Replicas, wire.Replica{Node: string(r.Node), State: r.State.String(), NodeState: nodeState})
	}
	for _, f := range e.Former {
		out.Dropping = append(out.Dropping, string(f.Node))
	}
	for _, id := range e.Ops {
		out.Ops = append(out.Ops, id.String())
	}
	return out
}

func (n *Node) serveNodes(ctx context.Context, c *mux.ServerCall) error {
	view := n.log.View()
	leader, _ := n.log.Leader()
	var reply wire.NodesReply
	look := n.lookAt(view)
	view.Nodes(func(node *state.Node) bool {
		reply.Nodes = append(reply.Nodes, describeNode(view, look, node, leader))
		return true
	})
	return c.Reply(&reply, nil)
}

func describeNode(view *state.View, look *schedule.Look, node *state.Node, leader state.NodeID) wire.Node {
	out := wire.Node{
		ID: string(node.ID), Addr: node.Addr, State: node.State.String(), Mode: node.Mode.String(), Voter: node.Voter,
		Leader: node.ID == leader, Replicas: view.CountReplicas(node.ID), Incarnation: node.Incarnation, Since: int64(node.SinceMicros),
		SafeRemove: node.Mode == state.ModeDecommissioned, Free: node.Free, Total: node.Total, Refuses: node.Refuses,
	}
	load := view.NodeLoad(node.ID)
	out.SourceQueued, out.SourceRunning = load.Source.Queued, load.Source.Running
	out.TargetQueued, out.TargetRunning = load.Target.Queued, load.Target.Running
	view.DropsOn(node.ID, func(*state.Extent) bool { out.Dropping++; return true })
	if node.Mode == state.ModeDecommissioning {
		out.Operation, out.Remaining = node.Decommission.String(), out.Replicas
		out.Blocked = decommissionBlocked(view, look, node)
	} else if o := queuedDecommission(view, node); o != nil {
		out.Operation, out.Remaining = o.ID.String(), out.Replicas
		out.Blocked = look.Blocked(o)
	}
	return out
}

// queuedDecommission is one of a node that has yet to begin, nil when there is none: until it does the node takes
// replicas as before.
func queuedDecommission(view *state.View, node *state.Node) *state.Op {
	for _, id := range node.Ops {
		if o := view.Op(id); o.Kind == policies.KindDecommission && o.State == state.OpQueued {
			return o
		}
	}
	return nil
}

// decommissionBlocked says what the first replica that is not being moved waits for.
func decommissionBlocked(view *state.View, look *schedule.Look, node *state.Node) string {
	why := ""
	view.ReplicasOn(node.ID, func(e *state.Extent) bool {
		if e.Damaged {
			why = fmt.Sprintf("extent %d is damaged, and what is left of it stays where it is; bring back a node that has it whole, or delete it", e.ID)
		}
		for _, id := range e.Ops {
			o := view.Op(id)
			if o.State == state.OpRunning {
				return true // this one is under way
			}
			if o.Kind == policies.KindMove {
				why = blockedText(look, e, o)
			}
		}
		return why == ""
	})
	if why == "" && view.CountReplicas(node.ID) == 0 && node.Voter {
		why = "its vote is still to be moved"
	}
	return why
}

func (n *Node) serveStatus(ctx context.Context, c *mux.ServerCall) error {
	view := n.log.View()
	leader, _ := n.log.Leader()
	counts, chain, disk := view.Counts(), n.log.Chain(), n.diskStatus()
	out := wire.Status{
		Cell: view.Cell, Node: string(n.id), Leader: string(leader), Term: n.log.Term(), Applied: uint64(n.log.AppliedIndex()),
		Commit: uint64(n.log.CommitIndex()), Chain: fmt.Sprintf("%x", chain.Hash), Ready: n.ready.Load(),
		Extents: counts.Extents, Replicas: counts.Replicas, Nodes: counts.Nodes, Queued: counts.Queued, Running: counts.Running,
		Dropping: counts.Drops, Policy: policyName(view, view.Active), Digest: view.Active, Epoch: view.PolicyEpoch, Version: n.cfg.Version,
		Refuses: disk.Refuses, Free: disk.Free, Total: disk.Total,
	}
	view.Nodes(func(node *state.Node) bool {
		if node.State == state.NodeUp {
			out.Up++
		}
		return true
	})
	out.Lacking = lacking(view)
	out.Voters = n.voters(ctx, view, leader != "")
	if leader == "" {
		out.Since = n.leaderless.micros(n.now())
	}
	out.Parted = n.parted.among(view)
	out.Quotas = describeUsage(view, n.quotas)
	out.ByKind, out.ByClass, out.ByNode = countKinds(view), countClasses(view), countNodes(view)
	return c.Reply(&out, nil)
}

// lacking counts the extents, open ones too, with fewer whole replicas on nodes that are up than they want.
func lacking(view *state.View) int {
	short := map[state.ExtentID]bool{}
	note := func(e *state.Extent) bool {
		if e.Written() && view.Live(e) < int(e.Want) {
			short[e.ID] = true
		}
		return true
	}
	view.Lacking(note)
	view.Nodes(func(node *state.Node) bool {
		if node.State != state.NodeUp {
			view.ReplicasOn(node.ID, note)
		}
		return true
	})
	return len(short)
}

func (n *Node) serveSettings(ctx context.Context, c *mux.ServerCall) error {
	var reply wire.SettingsReply
	n.log.View().Settings.Each(func(key, value, help string) {
		reply.Settings = append(reply.Settings, wire.Setting{Key: key, Value: value, Help: help})
	})
	return c.Reply(&reply, nil)
}

func blockedText(look *schedule.Look, e *state.Extent, o *state.Op) string {
	if why := look.Blocked(o); why != "" {
		return fmt.Sprintf("the move of extent %d (%s): %s", e.ID, o.ID, why)
	}
	return ""
}
