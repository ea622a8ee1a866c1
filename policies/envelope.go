package policies

import "strings"

// VerdictSet is a set of verdicts, one bit each.
type VerdictSet uint8

func set(vs ...Verdict) VerdictSet {
	var s VerdictSet
	for _, v := range vs {
		s |= 1 << v
	}
	return s
}

// Has reports whether v is in the set.
func (s VerdictSet) Has(v Verdict) bool { return v >= Coexist && v <= Reject && s&(1<<v) != 0 }

// String is the words of the set, in the order of their numbers.
func (s VerdictSet) String() string {
	var names []string
	for v := Coexist; v <= Reject; v++ {
		if s.Has(v) {
			names = append(names, v.String())
		}
	}
	return strings.Join(names, " ")
}

// Safe is one cell of the envelope: what is allowed, what is done instead of anything else, and why.
type Safe struct {
	Allowed  VerdictSet
	Fallback Verdict // Invariant: in Allowed
	Reason   string  // in a sentence without its stop, for people
}

// Envelope is the table of verdicts that lose nothing, whatever a policy says. existing is held by
// the cell, incoming arrives; both concern the same extent, or the same node where neither has one.
//
// The rules behind the table: nothing overtakes a delete that the cell has accepted, or data would
// come back; two operations never copy or cut the same extent at once; an operation that is asked
// for twice may become one; whoever only wants more redundancy yields to a delete.
func Envelope(existing, incoming Kind, sameNode bool) Safe {
	safe := envelope(existing, incoming, sameNode)
	if !Meet(existing, incoming) {
		safe.Reason = "the two never concern the same extent or node"
	}
	return safe
}

// Meet reports whether an operation of the kind incoming can concern what one of the kind existing does. A create
// brings a new extent, which nothing concerns yet, and what works on an extent does not meet what works on a node.
func Meet(existing, incoming Kind) bool {
	onExtent := func(k Kind) bool { return k >= KindCreate && k <= KindPunch }
	onNode := func(k Kind) bool { return k == KindDecommission || k == KindRecommission }
	return onExtent(existing) && onExtent(incoming) && incoming != KindCreate || onNode(existing) && onNode(incoming)
}

func envelope(existing, incoming Kind, sameNode bool) Safe {
	switch existing {
	case KindDelete:
		if incoming == KindDelete {
			return Safe{set(Merge, Reject), Merge, "deleted once is deleted"}
		}
		return Safe{set(Reject), Reject, "nothing overtakes a delete, or what it deletes would come back"}
	case KindCreate:
		if incoming == KindDelete {
			return Safe{set(Wait, Reject), Wait, "a delete takes what the create has made, on every node that made it"}
		}
		return Safe{set(Wait, Reject), Wait, "there is nothing to work on before the create has made it"}
	case KindSeal:
		return sealing(incoming)
	case KindPunch:
		return rewriting(incoming)
	case KindRepair, KindMove:
		return copying(existing, incoming, sameNode)
	case KindDecommission:
		switch incoming {
		case KindDecommission:
			return Safe{set(Merge, Reject), Merge, "a node is emptied once"}
		case KindRecommission:
			return Safe{set(Supersede, Reject), Supersede, "a recommission takes the decommission back"}
		}
	case KindRecommission:
		switch incoming {
		case KindRecommission:
			return Safe{set(Merge, Reject), Merge, "a node is taken back once"}
		case KindDecommission:
			return Safe{set(Wait, Reject), Wait, "each has its own end: the node is back before it is emptied"}
		}
	}
	return Safe{set(Reject), Reject, ""}
}

// sealing is the envelope of a seal, which cuts replicas to the same length.
func sealing(incoming Kind) Safe {
	switch incoming {
	case KindSeal:
		return Safe{set(Merge, Reject), Merge, "an extent is sealed once"}
	case KindDelete:
		return Safe{set(Wait, Supersede, Reject), Supersede, "the length of what is deleted matters to nobody"}
	}
	return Safe{set(Wait, Reject), Wait, "what is copied needs the length that the seal finds"}
}

// rewriting is the envelope of a punch, which rewrites a replica without what is deleted, and ends for whatever else
// comes: what waits for it waits for nothing.
func rewriting(incoming Kind) Safe {
	switch incoming {
	case KindDelete:
		return Safe{set(Wait, Supersede, Reject), Supersede, "what is deleted is rewritten for nobody"}
	case KindPunch:
		return Safe{set(Wait, Reject), Wait, "one replica of an extent is rewritten at a time"}
	}
	return Safe{set(Wait, Reject), Wait, "a rewrite ends for what waits for it, and is asked for again"}
}

// copying is the envelope of an operation that copies bytes: only a delete may end it early, and a
// repair may end a move, which can be planned again from what the repair leaves.
func copying(existing, incoming Kind, sameNode bool) Safe {
	switch {
	case incoming == KindDelete:
		return Safe{set(Wait, Supersede, Reject), Supersede, "a copy of what is deleted is in vain"}
	case existing == KindRepair && incoming == KindRepair:
		return Safe{set(Wait, Merge, Reject), Merge, "one repair brings back what is missing"}
	case existing == KindMove && incoming == KindMove && sameNode:
		return Safe{set(Wait, Merge, Reject), Merge, "a replica leaves its node once"}
	case existing == KindMove && incoming == KindMove:
		return Safe{set(Wait, Reject), Wait, "two operations never copy the same extent at once"}
	case existing == KindMove && incoming == KindRepair:
		return Safe{set(Wait, Supersede, Reject), Wait,
			"a repair may end a move, which can be planned again from what the repair leaves"}
	case incoming == KindPunch:
		return Safe{set(Wait, Reject), Wait, "no replica is rewritten while its extent is copied"}
	case existing == KindRepair && incoming == KindMove:
		return Safe{set(Wait, Reject), Wait, "redundancy comes back before a replica changes its place"}
	}
	return Safe{set(Wait, Reject), Wait, "an extent is not cut while it is copied"}
}

// Judge checks a verdict by the envelope. overruled is true when v was not allowed and the
// fallback was taken instead.
func Judge(existing, incoming Kind, sameNode bool, v Verdict) (final Verdict, overruled bool) {
	safe := Envelope(existing, incoming, sameNode)
	if safe.Allowed.Has(v) {
		return v, false
	}
	return safe.Fallback, true
}
