package state

import "github.com/datanode/datanode/policies"

// Load is how many operations of one sort there are.
type Load struct{ Queued, Running int }

// NodeLoad are the copies that a node has to do with: those that are read there and those that are written there. A
// queued move is read, for all that is known, at the node that it takes from; a queued copy has a target when somebody
// has named one, or an earlier attempt has begun there.
type NodeLoad struct{ Source, Target Load }

// KindLoad counts the operations of a kind.
func (v *View) KindLoad(kind policies.Kind) Load { return v.kinds[min(kind, maxKind)] }

// NodeLoad counts the copies of a node.
func (v *View) NodeLoad(id NodeID) NodeLoad {
	load, _ := v.nodeLoads.Get(id)
	return load
}

// Classes goes through the classes whose extents have operations, by name; "" is that of extents without one.
// Operations on nodes are of no class.
func (v *View) Classes(yield func(class string, load Load) bool) { v.classes.Scan(yield) }

// add counts one operation more, or less, in the state it is in. Ended ones do not count.
func (l Load) add(st OpState, by int) Load {
	switch st {
	case OpQueued:
		l.Queued += by
	case OpRunning:
		l.Running += by
	}
	return l
}

// tally counts an open operation in, or out again: the extent that it is about must be there both times, and of a class
// that never changes.
func (s *State) tally(o *Op, by int) {
	if o.State.Ended() {
		return
	}
	kind := &s.kinds[min(o.Kind, maxKind)]
	*kind = kind.add(o.State, by)
	if e := s.Extent(o.Extent); e != nil {
		load, _ := s.classes.Get(e.Class)
		if load = load.add(o.State, by); load == (Load{}) {
			s.classes.Delete(e.Class)
		} else {
			s.classes.Set(e.Class, load)
		}
	}
	source, target := o.ends()
	s.tallyNode(source, func(l *NodeLoad) { l.Source = l.Source.add(o.State, by) })
	s.tallyNode(target, func(l *NodeLoad) { l.Target = l.Target.add(o.State, by) })
}

func (s *State) tallyNode(id NodeID, count func(*NodeLoad)) {
	if id == "" {
		return
	}
	load, _ := s.nodeLoads.Get(id)
	if count(&load); load == (NodeLoad{}) {
		s.nodeLoads.Delete(id)
	} else {
		s.nodeLoads.Set(id, load)
	}
}

// ends are the nodes that a copy is read and written at, as far as that is known.
func (o *Op) ends() (source, target NodeID) {
	switch {
	case !o.Copies():
		return "", ""
	case o.State == OpRunning:
		return o.Source, o.Target
	}
	return o.Node, o.Target // only a move has a node
}
