package schedule

import (
	"fmt"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Why something waits, in a word. They are words of an interface: never changed, only appended.
const (
	WaitOperation = "operation"    // for another operation to end
	WaitSerial    = "serial"       // one of its kind runs at a time
	WaitQuiet     = "quiet-window" // for the window to end
	WaitBackoff   = "backoff"      // between two attempts
	WaitPaused    = "paused-node"  // for a node to come back, or its pause to end
	WaitLimit     = "limit"        // of what runs at once in the cell, or of one who asks
	WaitPlace     = "place"        // for a copy from or to a node to end
	WaitNode      = "node"         // no node can do it now
	WaitDelay     = "repair-delay" // for a node that is down to come back
)

// WaitReasons are all of them.
func WaitReasons() []string {
	return []string{WaitOperation, WaitSerial, WaitQuiet, WaitBackoff, WaitPaused, WaitLimit, WaitPlace, WaitNode,
		WaitDelay}
}

// Wait is something that does not start.
type Wait struct {
	Op     *state.Op // nil: there is no operation yet, see Awaited
	Reason string    // one of WaitReasons
	Why    string    // for people
	Since  state.Micros
	Until  state.Micros // when it ends by itself; 0: nobody can tell

	Node  state.NodeID // without an operation: whose replicas
	Count int          // of replicas that would be repaired, at most
}

// Wait says what a queued operation waits for, nil when it could start now, or is not queued. The text is that of
// Blocked, and the reason that of the first check that holds it back.
func (l *Look) Wait(o *state.Op) *Wait {
	why := l.Blocked(o)
	if why == "" {
		return nil
	}
	w := &Wait{Op: o, Why: why, Since: o.SinceMicros(), Reason: WaitNode}
	open := func(id state.OpID) bool { other := l.v.Op(id); return other != nil && !other.State.Ended() }
	for _, id := range o.Waits {
		if open(id) {
			w.Reason = WaitOperation
			return w
		}
	}
	switch h := l.quiet.on(l.v, o); {
	case l.before(o) != nil:
		w.Reason = WaitSerial
	case h != nil:
		w.Reason = WaitQuiet
		if h.left > 0 {
			w.Until = l.now + state.Micros(h.left.Microseconds())
		}
	case o.NotBeforeMicros > l.now:
		w.Reason, w.Until = WaitBackoff, o.NotBeforeMicros
	case l.comesBack(o) != "":
		w.Reason, w.Until = WaitPaused, l.firstBack(o.Extent)
	case l.limited(o) != "":
		w.Reason = WaitLimit
	case l.wantsPlace(o):
		w.Reason = WaitPlace
	}
	return w
}

// firstBack is when the first pause ends of nodes that are not up and have a whole replica.
func (l *Look) firstBack(id state.ExtentID) (until state.Micros) {
	e := l.v.Extent(id)
	for _, n := range l.paused {
		r, holds := e.Replica(n.ID)
		if holds && r.State == state.ReplicaWhole && n.State != state.NodeUp && (until == 0 || n.Pause.Until < until) {
			until = n.Pause.Until
		}
	}
	return until
}

// Awaited are the repairs that the cell does not ask for yet, by node: of those that are down for less than
// repair-delay, or paused, and have replicas.
func (l *Look) Awaited() (all []Wait) {
	l.v.Nodes(func(n *state.Node) bool {
		held := l.v.CountReplicas(n.ID)
		if n.State != state.NodeDown || held == 0 {
			return true
		}
		w := Wait{Node: n.ID, Count: held, Since: n.SinceMicros, Reason: WaitDelay,
			Until: n.SinceMicros + l.v.Settings.RepairDelayMicros}
		switch {
		case n.IsPaused():
			w.Reason, w.Until = WaitPaused, max(n.Pause.Until, w.Until)
			w.Why = PausedText(n) + "; its replicas are to come back"
		case l.now <= w.Until:
			w.Why = fmt.Sprintf("%s is down for less than repair-delay, %s", n.ID, l.v.Settings.RepairDelayMicros.Duration())
		default:
			return true // they are asked for
		}
		all = append(all, w)
		return true
	})
	return all
}

// Kind is that of what waits.
func (w *Wait) Kind() policies.Kind {
	if w.Op == nil {
		return policies.KindRepair
	}
	return w.Op.Kind
}
