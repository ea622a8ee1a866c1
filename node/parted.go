package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// parted are the nodes that are known to have another history of the cell than the leader: each holds entries that the
// other does not, so that neither can be brought up to date. Who leads finds it out by the heartbeats, and tells
// all others in its answers, so that the next leader knows it and every node can say so.
type parted struct {
	mu    sync.Mutex
	nodes map[string]wire.Parted // Guarded by mu.
}

func newParted() *parted { return &parted{nodes: map[string]wire.Parted{}} }

// note tells whether that is news.
func (p *parted) note(one wire.Parted) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.nodes[one.Node]
	p.nodes[one.Node] = one
	return !known
}

// agrees is said of a node whose history is the leader's.
func (p *parted) agrees(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes, node)
}

// learn takes over what the leader says.
func (p *parted) learn(all []wire.Parted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.nodes)
	for _, one := range all {
		p.nodes[one.Node] = one
	}
}

// has is what is known of a node.
func (p *parted) has(node string) (wire.Parted, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.nodes[node]
	return one, ok
}

// among are those that have parted, by ID, of the nodes that the cell still has.
func (p *parted) among(view *state.View) []wire.Parted {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []wire.Parted
	for id, one := range p.nodes {
		if view.Node(state.NodeID(id)) != nil {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b wire.Parted) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// chainOf is the chain that a heartbeat or its answer names, false where it names none: builds before this one do not.
func chainOf(index uint64, hash []byte) (p raftlog.ChainPoint, ok bool) {
	if len(hash) != len(p.Hash) || index == 0 {
		return p, false
	}
	p.Index = state.Index(index)
	copy(p.Hash[:], hash)
	return p, true
}

// compareBeat holds the history of a node that has sent a heartbeat against this node's, which leads. A node with
// another history is called down, and told why; nothing of it is touched.
func (n *Node) compareBeat(beat *wire.Heartbeat) error {
	theirs, ok := chainOf(beat.Applied, beat.Chain)
	if !ok {
		return nil
	}
	differ := n.log.Compare(theirs, "node "+beat.Node+" at "+beat.Addr)
	if differ == nil && beat.Parted { // by entries that this node does not have
		differ = &raftlog.PartedError{Index: theirs.Index, Ours: n.log.Chain(), Theirs: theirs, With: "node " + beat.Node}
	}
	if differ == nil {
		n.parted.agrees(beat.Node)
		return nil
	}
	if n.parted.note(wire.Parted{
		Node: beat.Node, Index: beat.Applied, Ours: fmt.Sprintf("%x", differ.Ours.Hash), Theirs: fmt.Sprintf("%x", beat.Chain),
	}) {
		n.logger.Error("a node's history of the cell is not the leader's", "parted", beat.Node, "error", differ)
	}
	silent := *beat
	silent.Ready = false
	n.watch.heard(&silent)
	return wire.Errorf(wire.OpHeartbeat, wire.CodeParted, "%s", differ.Error())
}

// compareReply holds the leader's history against this node's. Where they differ, or the leader says so, this node
// stops: it can neither follow nor be led.
func (n *Node) compareReply(beat *wire.Heartbeat, reply wire.HeartbeatReply, err error) error {
	if wire.CodeOf(err) == wire.CodeParted {
		return &refusedError{err}
	}
	if err != nil {
		return err
	}
	n.parted.learn(reply.Parted)
	theirs, ok := chainOf(beat.Applied, reply.Chain)
	if !ok || bytes.Equal(reply.Chain, beat.Chain) {
		return nil
	}
	ours, _ := chainOf(beat.Applied, beat.Chain)
	return &refusedError{&raftlog.PartedError{
		Index: theirs.Index, Ours: ours, Theirs: theirs, With: "the leader " + reply.Leader,
	}}
}

// tellParted tells the leader that this node stops because of another history, so that the cell can say why it is down.
func (n *Node) tellParted(ctx context.Context, why error) {
	apart := (*raftlog.PartedError)(nil)
	if !errors.As(why, &apart) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.time.heartbeat)
	defer cancel()
	beat := n.beat()
	beat.Ready, beat.Parted = false, true
	if ours := apart.Ours; ours.Index > state.Index(beat.Applied) { // it has not applied again what it once had
		beat.Applied, beat.Chain = uint64(ours.Index), ours.Hash[:]
	}
	_, err := askLeader[wire.HeartbeatReply](ctx, n, wire.OpHeartbeat, beat)
	if err != nil && wire.CodeOf(err) != wire.CodeParted {
		n.logger.Info("the leader could not be told that histories have parted", "error", err)
	}
}

// refuseParted refuses a raft stream of a node that has parted: it must neither lead this node nor ask for its vote.
func (n *Node) refuseParted(node string) error {
	if one, ok := n.parted.has(node); ok {
		return wire.Errorf(0, wire.CodeParted,
			"raft stream of node %s, whose history of the cell has parted by entry %d", node, one.Index)
	}
	return nil
}
