package lead

import (
	"slices"
	"strings"
	"sync"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Divergences are the nodes that are known to have another history of the cell than the leader: each holds entries
// that the other does not, so that neither can be brought up to date. Who leads finds it out by the heartbeats, and
// tells all others in its answers, so that the next leader knows it and every node can say so.
type Divergences struct {
	mu    sync.Mutex
	nodes map[string]wire.Parted // Guarded by mu.
}

// NewDivergences know of none.
func NewDivergences() *Divergences { return &Divergences{nodes: map[string]wire.Parted{}} }

// Note reports whether that was not known before.
func (d *Divergences) Note(one wire.Parted) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.nodes[one.Node]
	d.nodes[one.Node] = one
	return !known
}

// Agrees is called for a node whose history is the leader's.
func (d *Divergences) Agrees(node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.nodes, node)
}

// Learn takes over what the leader says.
func (d *Divergences) Learn(all []wire.Parted) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.nodes)
	for _, one := range all {
		d.nodes[one.Node] = one
	}
}

// Has is what is known of a node.
func (d *Divergences) Has(node string) (wire.Parted, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one, ok := d.nodes[node]
	return one, ok
}

// Refuse refuses a raft stream of a node with another history: it must neither lead this node nor ask for its vote.
func (d *Divergences) Refuse(node string) error {
	one, ok := d.Has(node)
	if !ok {
		return nil
	}
	return wire.Errorf(0, wire.CodeParted,
		"raft stream of node %s, whose history of the cell has parted by entry %d", node, one.Index)
}

// Among are those that have parted, by ID, of the nodes that the cell still has.
func (d *Divergences) Among(view *state.View) []wire.Parted {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []wire.Parted
	for id, one := range d.nodes {
		if view.Node(state.NodeID(id)) != nil {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b wire.Parted) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// ChainOf is the chain that a heartbeat or its answer names, false where it names none: builds before this one do not.
func ChainOf(index uint64, hash []byte) (p raftlog.ChainPoint, ok bool) {
	if len(hash) != len(p.Hash) || index == 0 {
		return p, false
	}
	p.Index = state.Index(index)
	copy(p.Hash[:], hash)
	return p, true
}
