package state

import "github.com/datanode/datanode/policies"

// Extent is nil when the cell knows no such extent, or has forgotten it.
func (v *View) Extent(id ExtentID) *Extent {
	e, _ := v.extents.Get(id)
	return e
}

// Node is nil when the cell knows no such node.
func (v *View) Node(id NodeID) *Node {
	n, _ := v.nodes.Get(id)
	return n
}

// Op is nil when the cell knows no such operation, or it ended too long ago.
func (v *View) Op(id OpID) *Op {
	o, _ := v.ops.Get(id)
	return o
}

// Policy is nil when no such policy was loaded.
func (v *View) Policy(digest string) *LoadPolicy {
	p, _ := v.loaded.Get(digest)
	return p
}

// Each method below calls yield in order until it answers false.

// Extents goes through all extents from id on, tombstones included.
func (v *View) Extents(from ExtentID, yield func(*Extent) bool) {
	v.extents.Ascend(from, func(_ ExtentID, e *Extent) bool { return yield(e) })
}

// Nodes goes through all nodes by ID.
func (v *View) Nodes(yield func(*Node) bool) {
	v.nodes.Scan(func(_ NodeID, n *Node) bool { return yield(n) })
}

// Ops goes through the operations from id on: all open ones, and ended ones as far as they are kept.
func (v *View) Ops(from OpID, yield func(*Op) bool) {
	v.ops.Ascend(from, func(_ OpID, o *Op) bool { return yield(o) })
}

// Running goes through the running operations in the order of their IDs.
func (v *View) Running(yield func(*Op) bool) {
	v.running.Scan(func(_ OpID, o *Op) bool { return yield(o) })
}

// Policies goes through the loaded policies by digest.
func (v *View) Policies(yield func(*LoadPolicy) bool) {
	v.loaded.Scan(func(_ string, p *LoadPolicy) bool { return yield(p) })
}

// Sessions goes through the client sessions in the order in which they were opened.
func (v *View) Sessions(yield func(*Session) bool) {
	v.sessions.Scan(func(_ SessionID, ses *Session) bool { return yield(ses) })
}

// ReplicasOn goes through the extents of which node holds a replica, suspect ones included.
func (v *View) ReplicasOn(node NodeID, yield func(*Extent) bool) {
	v.eachHolding(v.replicas.Ascend, node, yield)
}

// DropsOn goes through the extents of which node may hold a file that must go.
func (v *View) DropsOn(node NodeID, yield func(*Extent) bool) {
	v.eachHolding(v.drops.Ascend, node, yield)
}

func (v *View) eachHolding(ascend func(holding, func(holding) bool), node NodeID, yield func(*Extent) bool) {
	ascend(holding{node: node}, func(h holding) bool {
		return h.node == node && yield(v.Extent(h.extent))
	})
}

// Lacking goes through the open and sealed extents that have fewer whole replicas than wanted, whether or not
// the nodes of those are up.
func (v *View) Lacking(yield func(*Extent) bool) {
	v.lacking.Scan(func(id ExtentID, _ struct{}) bool { return yield(v.Extent(id)) })
}

// EachHollow goes through the extents of which every byte is deleted.
func (v *View) EachHollow(yield func(*Extent) bool) {
	v.hollow.Scan(func(id ExtentID, _ struct{}) bool { return yield(v.Extent(id)) })
}

// Counts are the sizes that status reports.
type Counts struct {
	Extents, Nodes, Queued, Running, Replicas, Drops int

	Kept      int    // deleted extents that can be brought back
	KeptBytes uint64 // of all their files
}

// Counts are exact and cheap.
func (v *View) Counts() Counts {
	return Counts{
		Extents: v.extents.Len(), Nodes: v.nodes.Len(), Queued: v.queue.Len(), Running: v.running.Len(),
		Replicas: v.replicas.Len(), Drops: v.drops.Len(), Kept: v.kept.Len(), KeptBytes: v.keptBytes,
	}
}

// CountReplicas is how many replicas a node holds.
func (v *View) CountReplicas(node NodeID) int {
	n, _ := v.held.Get(node)
	return n
}

// Live is how many whole replicas of e are on nodes that are up.
func (v *View) Live(e *Extent) int {
	n := 0
	for _, r := range e.Replicas {
		if node := v.Node(r.Node); r.State == ReplicaWhole && node != nil && node.State == NodeUp && !node.Unproven {
			n++
		}
	}
	return n
}

// Facts are what a policy is given about an operation. o need not be in the state: an incoming one
// has ID 0.
func (v *View) Facts(o *Op, phase policies.Phase) policies.Facts {
	f := policies.Facts{
		OpIndex: uint64(o.ID.Index()), OpPlace: uint32(o.ID.Place()),
		Kind: o.Kind, Phase: phase, Origin: o.Origin, Attempts: o.Attempts, Extent: uint64(o.Extent),
		NowMicros: int64(v.NowMicros),
		QueuedOps: uint32(v.queue.Len()), RunningOps: uint32(v.running.Len()),
		RunningSame: uint32(v.KindLoad(o.Kind).Running),
	}
	if len(o.Steps) > 0 {
		f.WaitingMicros = int64(v.NowMicros - o.Steps[0].Micros)
	}
	if e := v.Extent(o.Extent); e != nil {
		f.ExtentOpen = e.State == ExtentOpen || e.State == ExtentCreating
		copy(f.Class[:], e.Class)
		f.LengthBytes = e.Length
		f.LiveReplicas, f.WantReplicas = uint8(v.Live(e)), e.Want
	}
	return f
}
