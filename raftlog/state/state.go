// Package state is the replicated state machine of a cell: which extents, nodes and operations
// there are, and what each entry of the operation log does to them.
//
// It is pure. It has no clock (the leader's time comes in the entry), no I/O, no goroutine and no
// randomness, and it iterates nothing in an order that could differ between replicas. Applying the
// same entries gives the same state, on every node.
//
// State is written by one goroutine, the one that applies. Everybody else reads a View: a snapshot
// that costs nothing to take, because the trees behind it copy themselves when they are next
// written, and that never changes.
package state

import (
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/tidwall/btree"
)

// holding is an element of the indexes over (node, extent).
type holding struct {
	node   NodeID
	extent ExtentID
}

func lessHolding(a, b holding) bool {
	if a.node != b.node {
		return a.node < b.node
	}
	return a.extent < b.extent
}

// ending is an element of the index of ended operations: those that ended first come first, so that
// an operation which took long is not forgotten the moment it ends.
type ending struct {
	at Index
	op OpID
}

func lessEnding(a, b ending) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.op < b.op
}

// usages are how much is kept, by name.
type usages = *btree.Map[string, Usage]

// maxKind is the highest kind of operation that can be admitted.
const maxKind = policies.KindRecommission

// View is a readable state. Its zero value is not usable; see New and State.View.
type View struct {
	Applied     Index  // last entry applied
	NowMicros   Micros // the cell's time: that of the last entry. Invariant: never goes back
	Cell        string
	NextExtent  ExtentID
	PolicyEpoch uint64 // rises with every change of the active policy, and of what it may do: see Budget
	Active      string // digest of the policy that decides; empty: the native default
	Previous    string // what RollbackPolicy goes back to
	Settings    Settings
	Level       Level // the highest of the commands carried out so far
	// Era is the entry of the last recovery that may have lost entries, 0 for none. What nodes say that do not have it
	// is of a history that has ended.
	Era Index

	extents  *btree.Map[ExtentID, *Extent]
	nodes    *btree.Map[NodeID, *Node]
	ops      *btree.Map[OpID, *Op] // open ones and the newest ended ones
	sessions *btree.Map[SessionID, *Session]
	loaded   *btree.Map[string, *LoadPolicy]

	// Indexes, derived from the above.
	queue    *btree.BTreeG[place]
	waiting  *btree.BTreeG[place] // the same by age
	running  *btree.Map[OpID, *Op]
	ended    *btree.BTreeG[ending] // Invariant: at most maxEndedOps
	replicas *btree.BTreeG[holding]
	held     *btree.Map[NodeID, int]        // how many replicas a node has; absent for none
	drops    *btree.BTreeG[holding]         // files that must go
	holes    *btree.BTreeG[hole]            // what is deleted of extents that are not
	lacking  *btree.Map[ExtentID, struct{}] // open and sealed extents with fewer whole replicas than wanted
	unsealed *btree.Map[ExtentID, struct{}] // extents that are being created or open
	hollow   *btree.Map[ExtentID, struct{}] // sealed extents of which every byte is deleted
	kept     *btree.BTreeG[keeping]         // extents that are deleted and can be brought back
	idle     *btree.BTreeG[lastUse]         // sessions, the longest unused first
	owned    *btree.BTreeG[ownUse]          // sessions of each identity, the longest unused first
	owners   *btree.Map[Identity, int]      // how many sessions an identity has; absent for none
	byClass  usages                         // of each class, "" too; absent for nothing
	byOwner  usages                         // of each owner; absent for nothing

	keptBytes uint64 // of all files of those in kept

	// Counts of open operations, see counts.go.
	kinds     [maxKind + 1]Load
	nodeLoads *btree.Map[NodeID, NodeLoad] // absent for none
	classes   *btree.Map[string, Load]     // absent for none
}

// State is the state that entries are applied to. Not safe for concurrent use.
type State struct {
	View
}

// maxEndedOps bounds how many ended operations stay in the state. Older ones are in the log.
const maxEndedOps = 20_000

// New is the state before the first entry.
func New() *State {
	noLocks := btree.Options{NoLocks: true}
	return &State{View{
		NextExtent: 1,
		Settings:   DefaultSettings(),
		Level:      LevelFirst,
		extents:    new(btree.Map[ExtentID, *Extent]),
		nodes:      new(btree.Map[NodeID, *Node]),
		ops:        new(btree.Map[OpID, *Op]),
		sessions:   new(btree.Map[SessionID, *Session]),
		loaded:     new(btree.Map[string, *LoadPolicy]),
		queue:      btree.NewBTreeGOptions(lessPlace, noLocks),
		waiting:    btree.NewBTreeGOptions(lessWaiting, noLocks),
		running:    new(btree.Map[OpID, *Op]),
		ended:      btree.NewBTreeGOptions(lessEnding, noLocks),
		held:       new(btree.Map[NodeID, int]),
		replicas:   btree.NewBTreeGOptions(lessHolding, noLocks),
		drops:      btree.NewBTreeGOptions(lessHolding, noLocks),
		holes:      btree.NewBTreeGOptions(lessHole, noLocks),
		lacking:    new(btree.Map[ExtentID, struct{}]),
		hollow:     new(btree.Map[ExtentID, struct{}]),
		unsealed:   new(btree.Map[ExtentID, struct{}]),
		kept:       btree.NewBTreeGOptions(lessKeeping, noLocks),
		idle:       btree.NewBTreeGOptions(lessLastUse, noLocks),
		nodeLoads:  new(btree.Map[NodeID, NodeLoad]),
		classes:    new(btree.Map[string, Load]),
		owned:      btree.NewBTreeGOptions(lessOwnUse, noLocks),
		owners:     new(btree.Map[Identity, int]),
		byClass:    new(btree.Map[string, Usage]),
		byOwner:    new(btree.Map[string, Usage]),
	}}
}

// Snapshot is the state as it is now. It may be read by any goroutine, for ever: the trees are copied
// lazily, each side copying the nodes that it writes to.
func (s *State) Snapshot() *View {
	v := s.View
	v.extents, v.nodes, v.ops = s.extents.Copy(), s.nodes.Copy(), s.ops.Copy()
	v.sessions, v.loaded = s.sessions.Copy(), s.loaded.Copy()
	v.queue, v.waiting = s.queue.Copy(), s.waiting.Copy()
	v.running, v.ended, v.held = s.running.Copy(), s.ended.Copy(), s.held.Copy()
	v.replicas, v.drops, v.lacking, v.idle = s.replicas.Copy(), s.drops.Copy(), s.lacking.Copy(), s.idle.Copy()
	v.owned, v.owners = s.owned.Copy(), s.owners.Copy()
	v.byClass, v.byOwner = s.byClass.Copy(), s.byOwner.Copy()
	v.holes, v.hollow, v.unsealed = s.holes.Copy(), s.hollow.Copy(), s.unsealed.Copy()
	v.kept = s.kept.Copy()
	v.nodeLoads, v.classes = s.nodeLoads.Copy(), s.classes.Copy()
	return &v
}

// putExtent stores e and brings the indexes up to date. Most changes leave the nodes alone, and so
// the indexes over them.
func (s *State) putExtent(e *Extent) {
	old, ok := s.extents.Set(e.ID, e)
	if !ok {
		old = &Extent{ID: e.ID}
	}
	s.indexReplicas(old, e.Replicas)
	s.indexDrops(old, e.Former)
	s.recount(e, old.usage(), e.usage())
	s.indexKept(old, e)
	switch {
	case e.Lacks():
		s.lacking.Set(e.ID, struct{}{})
	case old.Lacks():
		s.lacking.Delete(e.ID)
	}
	switch {
	case e.unsealed():
		s.unsealed.Set(e.ID, struct{}{})
	case old.unsealed():
		s.unsealed.Delete(e.ID)
	}
	switch {
	case e.Hollow():
		s.hollow.Set(e.ID, struct{}{})
	case old.Hollow():
		s.hollow.Delete(e.ID)
	}
}

func (s *State) forgetExtent(e *Extent) {
	s.extents.Delete(e.ID)
	s.indexReplicas(e, nil)
	s.indexDrops(e, nil)
	s.lacking.Delete(e.ID)
	s.hollow.Delete(e.ID)
	s.unsealed.Delete(e.ID)
	s.recount(e, e.usage(), Usage{})
	s.indexKept(e, &Extent{})
}

func (s *State) indexReplicas(old *Extent, now []Replica) {
	if slices.EqualFunc(old.Replicas, now, func(a, b Replica) bool { return a.Node == b.Node }) {
		return
	}
	for _, r := range old.Replicas {
		s.replicas.Delete(holding{r.Node, old.ID})
		s.addHeld(r.Node, -1)
	}
	for _, r := range now {
		s.replicas.Set(holding{r.Node, old.ID})
		s.addHeld(r.Node, 1)
	}
}

func (s *State) indexDrops(old *Extent, now []Former) {
	if slices.EqualFunc(old.Former, now, func(a, b Former) bool { return a.Node == b.Node }) {
		return
	}
	for _, f := range old.Former {
		s.drops.Delete(holding{f.Node, old.ID})
	}
	for _, f := range now {
		s.drops.Set(holding{f.Node, old.ID})
	}
}

func (s *State) addHeld(n NodeID, by int) {
	count, _ := s.held.Get(n)
	if count += by; count == 0 {
		s.held.Delete(n)
		return
	}
	s.held.Set(n, count)
}

// putOp stores o and brings the indexes up to date.
func (s *State) putOp(o *Op) {
	if old, ok := s.ops.Set(o.ID, o); ok {
		s.unindexOp(old)
	}
	s.tally(o, 1)
	switch {
	case o.State == OpQueued:
		s.queue.Set(o.place())
		s.waiting.Set(o.place())
	case o.State == OpRunning:
		s.running.Set(o.ID, o)
	case o.State.Ended():
		s.ended.Set(ending{o.EndedIndex, o.ID})
		s.trimEnded()
	}
}

func (s *State) unindexOp(old *Op) {
	s.tally(old, -1)
	switch old.State {
	case OpQueued:
		s.queue.Delete(old.place())
		s.waiting.Delete(old.place())
	case OpRunning:
		s.running.Delete(old.ID)
	}
}

func (s *State) trimEnded() {
	for s.ended.Len() > maxEndedOps {
		first, _ := s.ended.PopMin()
		s.ops.Delete(first.op)
	}
}
