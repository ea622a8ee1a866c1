package schedule

import (
	"cmp"
	"fmt"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// copyPath fills in where a repair or move reads, where it writes and whose replica gives way.
func (l *Look) copyPath(o *state.Op, s *state.Start) (why string) {
	e := l.v.Extent(o.Extent)
	if e == nil || !e.Copyable(o.Kind) {
		return notIn(o.Extent, e, state.ExtentSealed)
	}
	if e.Damaged {
		return fmt.Sprintf("extent %d is damaged: nothing is copied over what its replicas hold until one proves to be "+
			"whole", e.ID)
	}
	if s.Source, why = l.source(o, e); why != "" {
		return why
	}
	if s.Target, why = l.target(o, e); why != "" {
		return why
	}
	s.Executor = s.Target
	s.Replaces = l.replaces(o, e, s.Target)
	return ""
}

// source is the whole replica on the least busy node that is up; one that is about to be stopped comes last. A move
// prefers the node that it empties, so that the others are spared.
func (l *Look) source(o *state.Op, e *state.Extent) (state.NodeID, string) {
	var best state.NodeID
	busy := false
	for _, r := range e.Replicas {
		n := l.v.Node(r.Node)
		if r.State != state.ReplicaWhole || n == nil || n.State != state.NodeUp {
			continue
		}
		if len(l.reads[r.Node]) >= int(l.v.Settings.CopiesPerSource) {
			busy = true
			continue
		}
		if o.Kind == policies.KindMove && r.Node == o.Node {
			return r.Node, ""
		}
		switch last, this := l.isPaused(best), l.isPaused(r.Node); {
		case best == "", last && !this, last == this && len(l.reads[r.Node]) < len(l.reads[best]):
			best = r.Node
		}
	}
	switch {
	case best != "":
		return best, ""
	case busy:
		return "", "every node with a replica serves as many copies as it may (copies-per-source)"
	}
	return "", "no node with a whole replica is up"
}

// closer reports whether a is the better target: in place before elsewhere, emptier before fuller.
func (l *Look) closer(e *state.Extent, a, b state.NodeID) bool {
	_, inPlaceA := e.Replica(a)
	_, inPlaceB := e.Replica(b)
	if inPlaceA != inPlaceB {
		return inPlaceA
	}
	full := Fullness(l.v)
	return cmp.Or(full(a)-full(b), l.load(a)-l.load(b)) < 0
}

// fullSteps is how finely disks are told apart by how full they are. Finer, and nodes of one size would be given
// replicas in bursts, each from one word about its disk to the next.
const fullSteps = 16

// Fullness says how full nodes' disks are, in steps: with disks of several sizes all are to fill at the same rate.
// While a node has not reported that, all are the same.
func Fullness(v *state.View) func(state.NodeID) int {
	told := true
	v.Nodes(func(n *state.Node) bool {
		told = told && (n.Total > 0 || !n.Takes())
		return told
	})
	return func(id state.NodeID) int {
		n := v.Node(id)
		if !told || n == nil || n.Total == 0 {
			return 0
		}
		return int((n.Total - min(n.Free, n.Total)) / max(n.Total/fullSteps, 1))
	}
}

func (l *Look) load(id state.NodeID) int { return l.v.CountReplicas(id) + len(l.writes[id]) }

// replaces is whose replica the new one takes the place of: that of the node which a move empties;
// for a repair a suspect one, or one on a node that is not up. Nobody's when the copy mends a replica
// in place, or when the extent has too few.
func (l *Look) replaces(o *state.Op, e *state.Extent, target state.NodeID) state.NodeID {
	if o.Kind == policies.KindMove {
		return o.Node
	}
	if _, holds := e.Replica(target); holds || len(e.Replicas) < int(e.Want) {
		return ""
	}
	var away state.NodeID
	most := 0
	for _, r := range e.Replicas {
		if r.State == state.ReplicaSuspect {
			return r.Node
		}
		// Those that are down give way before one that is only restarting, and before one that is to come back.
		lost := 0
		switch n := l.v.Node(r.Node); {
		case n == nil || n.State == state.NodeDown && !n.IsPaused():
			lost = 3
		case n.State != state.NodeUp && !n.IsPaused():
			lost = 2
		case n.State != state.NodeUp:
			lost = 1
		}
		if lost > 0 && lost >= most {
			away, most = r.Node, lost
		}
	}
	return away
}

// Takers are the nodes that may be given replicas, by ID.
func Takers(v *state.View) []state.NodeID {
	var ids []state.NodeID
	v.Nodes(func(n *state.Node) bool {
		if n.Takes() {
			ids = append(ids, n.ID)
		}
		return true
	})
	return ids
}
