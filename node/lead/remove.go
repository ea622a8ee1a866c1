package lead

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// remove takes a node out of the log's group and then out of the cell, in one entry with what comes before. It takes
// turns with those who are admitted: a node that has just come back is not forgotten.
func (m *members) remove(ctx context.Context, remove *state.RemoveNode, before ...state.Command) error {
	select {
	case m.joining <- struct{}{}:
		defer func() { <-m.joining }()
	case <-ctx.Done():
		return ctx.Err()
	}
	node := m.log.View().Node(remove.Node)
	if node == nil || remove.Incarnation != 0 && (node.Incarnation != remove.Incarnation || node.State != state.NodeDown) {
		return fmt.Errorf("node %s has come back", remove.Node)
	}
	cmds := append(before, remove)
	if old, level := m.log.View().LowestWithout(cmds); level < state.LevelOf(cmds) && len(before) > 0 {
		m.logger.Warn("node not removed: another has a build that cannot; run a newer build there, then: "+
			"datanode node remove",
			"node", string(remove.Node), "old", string(old))
		cmds = before
	} else if err := m.leaveGroup(ctx, remove.Node); err != nil {
		return err
	}
	return m.propose(ctx, cmds...)
}

// leaveGroup takes a member out of the log's group, vote and all, if it is in it. Votes of nodes that are down never
// help to agree, so that the others need no more of themselves without them.
func (m *members) leaveGroup(ctx context.Context, id state.NodeID) error {
	servers, err := m.log.Servers()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if s.ID == id {
			return m.log.Remove(ctx, id)
		}
	}
	return nil
}

// checkRemoved refuses a node that the cell no longer knows although its folder was admitted. Its files count for
// nothing any more, and what they hold may have been deleted and forgotten since.
func checkRemoved(view *state.View, req wire.JoinRequest) error {
	if req.Cell == "" || view.Node(state.NodeID(req.Node)) != nil {
		return nil
	}
	return wire.Errorf(wire.OpJoin, wire.CodePrecondition,
		"%s was removed from cell %s, or the cell was recovered without it; what its folder holds counts for nothing any "+
			"more: give it an empty --dir to let it in anew",
		req.Node, req.Cell)
}

// freeAddress takes a node that is down out of the log's group when a new one has come to its address: two
// members cannot share one. The cell still counts on its replicas, and it is admitted again at another address.
func (m *members) freeAddress(
	ctx context.Context, view *state.View, req wire.JoinRequest, by state.Identity,
) error {
	servers, err := m.log.Servers()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if s.Addr != req.Addr || s.ID == state.NodeID(req.Node) {
			continue
		}
		if err := m.takeAddress(ctx, view, s, view.NamedMember(by)); err != nil {
			return err
		}
	}
	return nil
}

func (m *members) takeAddress(
	ctx context.Context, view *state.View, s raftlog.ServerInfo, by state.Identity,
) error {
	node := view.Node(s.ID)
	if s.ID == m.id || m.watch.alive(s.ID) || node != nil && node.State != state.NodeDown {
		return wire.Errorf(wire.OpJoin, wire.CodeUnavailable,
			"%s is the address of node %s, which was heard of there a moment ago; stop that one, "+
				"or give this one another address", s.Addr, s.ID)
	}
	m.logger.Warn("node taken out of the log's group: a new one has come to its address",
		"node", string(s.ID), "addr", s.Addr)
	if err := m.log.Remove(ctx, s.ID); err != nil {
		return err
	}
	if node == nil || !node.Voter {
		return nil
	}
	return m.propose(ctx, &state.SetVoter{Node: s.ID, AskedBy: by})
}

// ServeNodeRemove forgets a node that somebody asks for by name.
func (l *Leader) ServeNodeRemove(ctx context.Context, c *mux.ServerCall, req wire.NodeRemoveRequest) error {
	if err := l.confirm(ctx); err != nil {
		return err
	}
	view := l.log.View()
	remove, err := draftRemoval(view, req)
	if err != nil {
		return err
	}
	remove.AskedBy = asker(view, c)
	remove.Note = "asked for by " + describe.Person(remove.AskedBy)
	reply := wire.NodeRemoveReply{Plan: describeRemoval(view, remove)}
	if !req.DryRun {
		if err := l.members.remove(ctx, remove); err != nil {
			return err
		}
		l.logger.Warn("node removed", "node", req.Node, "forced", remove.Forced, "asked_by", string(remove.AskedBy))
	}
	return c.Reply(&reply, nil)
}

// draftRemoval makes the command of a request, or says why the node cannot be removed, and what helps.
func draftRemoval(view *state.View, req wire.NodeRemoveRequest) (*state.RemoveNode, error) {
	node := view.Node(state.NodeID(req.Node))
	if node == nil {
		return nil, wire.Errorf(wire.OpNodeRemove, wire.CodeNotFound, "there is no node %q; see node ls", req.Node)
	}
	down, emptied := node.State == state.NodeDown, node.Mode == state.ModeDecommissioned
	remove := &state.RemoveNode{Node: node.ID}
	switch {
	case !emptied && !down:
		return nil, wire.Errorf(wire.OpNodeRemove, wire.CodePrecondition, "%s is %s and %s; decommission it first: "+
			"datanode node decommission %s",
			node.ID, node.State, node.Mode, node.ID)
	case !emptied && !req.Force:
		return nil, wire.Errorf(wire.OpNodeRemove, wire.CodePrecondition,
			"%s is down, and the cell counts on its %d replicas, vote %t; decommission it first (datanode node decommission "+
				"%s), which makes copies elsewhere, or take it off as it is with --force",
			node.ID, view.CountReplicas(node.ID), node.Voter, node.ID)
	case emptied && !down && !req.Force:
		return nil, wire.Errorf(wire.OpNodeRemove, wire.CodePrecondition,
			"%s is still %s; stop it first, or remove it as it is with --force, after which it stops by itself",
			node.ID, node.State)
	}
	remove.Forced = req.Force
	if down {
		remove.Incarnation = node.Incarnation
	}
	if res := view.Removable(remove); res.Err != nil {
		return nil, wire.Errorf(wire.OpNodeRemove, res.Err.Code, "%s", res.Err.Detail)
	}
	return remove, nil
}

func describeRemoval(view *state.View, remove *state.RemoveNode) string {
	node := view.Node(remove.Node)
	drops := 0
	view.DropsOn(node.ID, func(*state.Extent) bool { drops++; return true })
	plan := fmt.Sprintf("remove %s: it is %s and %s", node.ID, node.State, node.Mode)
	if held := view.CountReplicas(node.ID); held > 0 {
		plan += fmt.Sprintf("; take it off %d extents, which are copied to other nodes as far as there are any", held)
	}
	if node.Voter {
		plan += "; take its vote"
	}
	if drops > 0 {
		plan += fmt.Sprintf("; wait no longer until it has dropped its files of %d extents", drops)
	}
	return plan + "; it is not let in again with its folder"
}

// asker is who a call is made for, as it is in the log: nothing while a node of the cell would not understand it.
func asker(view *state.View, c *mux.ServerCall) state.Identity {
	if !view.AllReach(state.LevelNamed) {
		return ""
	}
	return state.Identity(c.Asker())
}
