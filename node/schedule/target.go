package schedule

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// keepTarget is how many attempts go to one target, which resumes where it stopped. After that
// another gets its chance, if there is one: the trouble may be the target's.
const keepTarget = 3

const (
	whyTargetsBusy = "every node that could take the replica takes as many copies as it may (copies-per-target)"
	whyNoTarget    = "no node that is up can take the replica: each holds one, has yet to drop an old file, " +
		"has no room, or is being decommissioned"
)

// target is the node that gets the copy: one that somebody has named, whatever that waits for; the one of an earlier
// attempt while it can take it; else where a suspect replica can be mended in place, else the emptiest.
func (l *Look) target(o *state.Op, e *state.Extent) (state.NodeID, string) {
	able := l.able(o, e, o.Target) && slices.Contains(l.takers, o.Target)
	switch {
	case o.Named && !able:
		why := cmp.Or(Unfit(l.v, e, o.Target), fmt.Sprintf("%s is being decommissioned", o.Target))
		return "", fmt.Sprintf("waits for its target %s, which was named: %s", o.Target, why)
	case o.Named || o.Attempts < keepTarget && able:
		if !l.room(o.Target) {
			return "", "its target " + string(o.Target) + " takes as many copies as it may (copies-per-target)"
		}
		return o.Target, ""
	}
	var best, second state.NodeID // second is the target that has failed: better than none
	why := l.butPaused(whyNoTarget)
	for _, id := range l.takers {
		switch {
		case !l.able(o, e, id):
		case !l.room(id):
			why = whyTargetsBusy
		case id == o.Target && o.Attempts >= keepTarget:
			second = id
		case best == "" || l.closer(e, id, best):
			best = id
		}
	}
	if best = cmp.Or(best, second); best == "" {
		return "", why
	}
	return best, ""
}

// Unfit says why a node cannot take another replica of an extent now, "" when it can.
func Unfit(v *state.View, e *state.Extent, id state.NodeID) string {
	n := v.Node(id)
	if n == nil {
		return fmt.Sprintf("there is no node %q", id)
	}
	_, holds := e.Replica(id)
	_, former := e.FormerSince(id)
	room, _ := n.Room()
	switch {
	case holds:
		return fmt.Sprintf("%s already has a replica of extent %d", id, e.ID)
	case n.State != state.NodeUp:
		return fmt.Sprintf("%s is %s", id, n.State)
	case n.Mode == state.ModeDecommissioning:
		return fmt.Sprintf("%s is being decommissioned", id)
	case n.Mode != state.ModeActive:
		return fmt.Sprintf("%s is %s", id, n.Mode)
	case n.IsPaused():
		return PausedText(n)
	case n.Refuses != "":
		return fmt.Sprintf("%s takes no replicas: %s", id, n.Refuses)
	case former:
		return fmt.Sprintf("%s has yet to drop its old file of extent %d", id, e.ID)
	case !fits(n, e):
		return fmt.Sprintf("%s is too full: an extent may still take %d bytes there, and extent %d has %d",
			id, room, e.ID, e.Length)
	}
	return ""
}

// fits reports whether a node has room for a replica, as far as it has reported.
func fits(n *state.Node, e *state.Extent) bool {
	room, known := n.Room()
	return !known || room > e.Length
}

// lostTarget says why a queued move can no longer go to its named target, "" while it may yet. One that only waits
// does not hold up a decommission of the node that it takes from.
func lostTarget(v *state.View, o *state.Op, e *state.Extent, now state.Micros) string {
	why := Unfit(v, e, o.Target)
	if !o.Named || why == "" {
		return ""
	}
	target, source := v.Node(o.Target), v.Node(o.Node)
	_, holds := e.Replica(o.Target)
	switch {
	case target == nil, holds, target.Mode != state.ModeActive:
	case target.State == state.NodeDown && now-target.SinceMicros > v.Settings.RepairDelayMicros:
		why += " for longer than repair-delay"
	case source != nil && source.Mode == state.ModeDecommissioning:
		why += fmt.Sprintf(", and %s is to be emptied", o.Node)
	default:
		return ""
	}
	return fmt.Sprintf("its target was named, and cannot take it: %s", why)
}

// able reports whether a node that takes replicas can take a copy: when it holds nothing of the extent,
// and for a repair when its replica is suspect.
func (l *Look) able(o *state.Op, e *state.Extent, id state.NodeID) bool {
	r, holds := e.Replica(id)
	if holds {
		return r.State == state.ReplicaSuspect && o.Kind == policies.KindRepair
	}
	_, former := e.FormerSince(id)
	n := l.v.Node(id)
	return !former && (n == nil || fits(n, e))
}

func (l *Look) room(id state.NodeID) bool {
	return len(l.writes[id]) < int(l.v.Settings.CopiesPerTarget)
}
