package schedule

import (
	"fmt"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// copyPath fills in where a repair or move reads, where it writes and whose replica gives way.
func (p *plan) copyPath(o *state.Op, s *state.Start) (why string) {
	e := p.v.Extent(o.Extent)
	if e.State != state.ExtentSealed {
		return fmt.Sprintf("extent %d is %s; only a sealed one is copied", e.ID, e.State)
	}
	if s.Source, why = p.source(o, e); why != "" {
		return why
	}
	if s.Target, why = p.target(o, e); why != "" {
		return why
	}
	s.Executor = s.Target
	s.Replaces = p.replaces(o, e, s.Target)
	return ""
}

// source is the whole replica on the least busy node that is up. A move prefers the node that it
// empties, so that the others are spared.
func (p *plan) source(o *state.Op, e *state.Extent) (state.NodeID, string) {
	var best state.NodeID
	busy := false
	for _, r := range e.Replicas {
		n := p.v.Node(r.Node)
		if r.State != state.ReplicaWhole || n == nil || n.State != state.NodeUp {
			continue
		}
		if p.reads[r.Node] >= int(p.v.Settings.CopiesPerSource) {
			busy = true
			continue
		}
		if o.Kind == policies.KindMove && r.Node == o.Node {
			return r.Node, ""
		}
		if best == "" || p.reads[r.Node] < p.reads[best] {
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

// target is the node that gets the copy: where a suspect replica can be mended in place if there is
// one, else the emptiest node that holds nothing of the extent. A target of an earlier attempt is
// kept while it is up, since it resumes.
func (p *plan) target(o *state.Op, e *state.Extent) (state.NodeID, string) {
	busy := false
	free := func(id state.NodeID) bool {
		if p.writes[id] >= int(p.v.Settings.CopiesPerTarget) {
			busy = true
			return false
		}
		return true
	}
	if o.Kind == policies.KindRepair {
		for _, r := range e.Replicas {
			if n := p.v.Node(r.Node); r.State == state.ReplicaSuspect && n != nil && n.Takes() && free(n.ID) {
				return n.ID, ""
			}
		}
	}
	var best state.NodeID
	for _, id := range Takers(p.v) {
		if e.MayHoldFile(id) || !free(id) {
			continue
		}
		if id == o.Target {
			return id, ""
		}
		if best == "" || p.load(id) < p.load(best) {
			best = id
		}
	}
	switch {
	case best != "":
		return best, ""
	case busy:
		return "", "every node that could take the replica takes as many copies as it may (copies-per-target)"
	}
	return "", "no node that is up can take the replica: each holds one, has yet to drop an old file, or is being decommissioned"
}

func (p *plan) load(id state.NodeID) int { return p.v.CountReplicas(id) + p.writes[id] }

// replaces is whose replica the new one takes the place of: that of the node which a move empties;
// for a repair a suspect one, or one on a node that is down. Nobody's when the extent has too few.
func (p *plan) replaces(o *state.Op, e *state.Extent, target state.NodeID) state.NodeID {
	if o.Kind == policies.KindMove {
		return o.Node
	}
	if _, holds := e.Replica(target); holds {
		return ""
	}
	var down state.NodeID
	for _, r := range e.Replicas {
		if r.State == state.ReplicaSuspect {
			return r.Node
		}
		if n := p.v.Node(r.Node); n == nil || n.State == state.NodeDown {
			down = r.Node
		}
	}
	return down
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

// Place chooses the nodes of a new extent: primary first if it takes replicas, then the emptiest.
// skip are nodes that the caller has just failed to reach. Fewer than want come back when there are
// no more; none when nobody takes replicas.
func Place(v *state.View, want int, primary state.NodeID, skip []state.NodeID) []state.NodeID {
	ids := slices.DeleteFunc(Takers(v), func(id state.NodeID) bool { return slices.Contains(skip, id) })
	slices.SortStableFunc(ids, func(a, b state.NodeID) int {
		switch {
		case a == primary:
			return -1
		case b == primary:
			return 1
		}
		return v.CountReplicas(a) - v.CountReplicas(b)
	})
	return ids[:min(want, len(ids))]
}
