package policies

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

// Safe is one cell of the envelope: what is allowed, and what is done instead of anything else.
type Safe struct {
	Allowed  VerdictSet
	Fallback Verdict // Invariant: in Allowed
}

// Envelope is the table of verdicts that lose nothing, whatever a policy says. existing is held by
// the cell, incoming arrives; both concern the same extent, or the same node where neither has one.
//
// The rules behind the table: nothing overtakes a delete that the cell has accepted, or data would
// come back; two operations never copy or cut the same extent at once; an operation that is asked
// for twice may become one; whoever only wants more redundancy yields to a delete.
func Envelope(existing, incoming Kind, sameNode bool) Safe {
	switch existing {
	case KindDelete:
		if incoming == KindDelete {
			return Safe{set(Merge, Reject), Merge}
		}
		return Safe{set(Reject), Reject}
	case KindCreate:
		return Safe{set(Wait, Reject), Wait}
	case KindSeal:
		switch incoming {
		case KindSeal:
			return Safe{set(Merge, Reject), Merge}
		case KindDelete:
			return Safe{set(Wait, Supersede, Reject), Supersede}
		}
		return Safe{set(Wait, Reject), Wait}
	case KindPunch:
		if incoming == KindDelete {
			return Safe{set(Wait, Supersede, Reject), Supersede}
		}
		return Safe{set(Wait, Reject), Wait}
	case KindRepair, KindMove:
		return copying(existing, incoming, sameNode)
	case KindDecommission:
		switch incoming {
		case KindDecommission:
			return Safe{set(Merge, Reject), Merge}
		case KindRecommission:
			return Safe{set(Supersede, Reject), Supersede}
		}
	case KindRecommission:
		switch incoming {
		case KindRecommission:
			return Safe{set(Merge, Reject), Merge}
		case KindDecommission:
			return Safe{set(Wait, Reject), Wait}
		}
	}
	return Safe{set(Reject), Reject}
}

// copying is the envelope of an operation that copies bytes: only a delete may end it early, and a
// repair may end a move, which can be planned again from what the repair leaves.
func copying(existing, incoming Kind, sameNode bool) Safe {
	switch {
	case incoming == KindDelete:
		return Safe{set(Wait, Supersede, Reject), Supersede}
	case existing == KindRepair && incoming == KindRepair,
		existing == KindMove && incoming == KindMove && sameNode:
		return Safe{set(Wait, Merge, Reject), Merge}
	case existing == KindMove && incoming == KindRepair:
		return Safe{set(Wait, Supersede, Reject), Wait}
	}
	return Safe{set(Wait, Reject), Wait}
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
