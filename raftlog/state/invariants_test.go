package state

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/datanode/datanode/policies"
)

// CheckInvariants says what in a view contradicts itself: records, what they say of each other, and
// the indexes, compared with what a restore derives from the records.
func CheckInvariants(v *View) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	v.Extents(0, func(e *Extent) bool { checkExtent(v, e, bad); return true })
	v.Nodes(func(n *Node) bool { checkNode(v, n, bad); return true })
	checkHoles(v, bad)
	v.Ops(0, func(o *Op) bool { checkOp(v, o, bad); return true })
	if v.sessions.Len() != v.idle.Len() || v.sessions.Len() > maxSessions {
		bad("%d sessions, %d in the index", v.sessions.Len(), v.idle.Len())
	}
	v.owners.Scan(func(who Identity, count int) bool {
		if who != "" && count > maxSessionsEach {
			bad("%s has %d sessions", who, count)
		}
		return true
	})
	if v.ended.Len() > maxEndedOps {
		bad("%d ended operations are kept", v.ended.Len())
	}
	checkUsage(v, bad)
	checkIndexes(v, bad)
	checkCounts(v, bad)
	return errors.Join(errs...)
}

type report func(format string, args ...any)

func checkExtent(v *View, e *Extent, bad report) {
	seen := map[NodeID]bool{}
	claim := func(id NodeID) {
		if seen[id] {
			bad("%s: node %s twice", e, id)
		}
		if seen[id] = true; v.Node(id) == nil {
			bad("%s: node %s is unknown", e, id)
		}
	}
	for _, r := range e.Replicas {
		claim(r.Node)
		if r.State == ReplicaSuspect && !e.Final() && e.State != ExtentOpen {
			bad("%s: suspect before it can be written", e)
		}
	}
	for _, f := range e.Former {
		claim(f.Node)
	}
	running := 0
	for _, id := range e.Ops {
		o := v.Op(id)
		if o == nil || o.State.Ended() || o.Extent != e.ID {
			bad("%s lists %v", e, o)
			continue
		}
		if o.State == OpRunning {
			running++
		}
		if e.State == ExtentDeleted && o.Kind != policies.KindDelete && !(e.Kept() && o.Kind == policies.KindMove) {
			bad("%s has %s", e, o)
		}
	}
	switch {
	case running > 1:
		bad("%s: %d operations run at once", e, running)
	case !slices.IsSorted(e.Ops) || len(e.Ops) > maxOpenOps:
		bad("%s: operations out of order or too many", e)
	case e.ID >= v.NextExtent:
		bad("%s: the next extent is %d", e, v.NextExtent)
	case e.Final() && e.Whole() == 0 && !e.Damaged:
		bad("%s: no whole replica", e)
	case e.Damaged && (e.State != ExtentSealed && e.State != ExtentDeleted || e.Whole() > 1):
		bad("%s: damaged", e)
	case e.KeptUntil != 0 && (e.State != ExtentDeleted || e.GraceEnded != 0):
		bad("%s: kept", e)
	case e.State == ExtentDeleted && !e.Kept() && (len(e.Replicas) > 0 || len(e.Former)+len(e.Ops) == 0):
		bad("%s: a tombstone has no replicas, and a reason to be kept", e)
	case (e.State != ExtentDeleted || e.Kept()) && len(e.Replicas) == 0:
		bad("%s: no replicas", e)
	}
}

// checkHoles: holes lie in extents that have bytes, apart from each other, and are counted.
func checkHoles(v *View, bad report) {
	type count struct {
		holes uint32
		bytes uint64
	}
	counts, last := map[ExtentID]count{}, hole{}
	v.holes.Scan(func(h hole) bool {
		if h.from >= h.to || h.extent == last.extent && h.from <= last.to {
			bad("hole %+v after %+v", h, last)
		}
		e := v.Extent(h.extent)
		if e == nil || !e.Written() && !e.Kept() || e.Final() && h.to > e.Length {
			bad("hole %+v in %v", h, e)
		}
		c := counts[h.extent]
		counts[h.extent], last = count{c.holes + 1, c.bytes + h.to - h.from}, h
		return true
	})
	v.Extents(0, func(e *Extent) bool {
		if c := counts[e.ID]; c.holes != e.Holes || c.bytes != e.Punched {
			bad("%s: %d bytes in %d holes", e, c.bytes, c.holes)
		}
		return true
	})
}

func checkNode(v *View, n *Node, bad report) {
	for _, id := range n.Ops {
		if o := v.Op(id); o == nil || o.State.Ended() || o.Extent != 0 || o.Node != n.ID {
			bad("%s lists %v", n, o)
		}
	}
	d := v.Op(n.Decommission)
	if leaving := d != nil && !d.State.Ended(); leaving != (n.Mode == ModeDecommissioning) {
		bad("%s, but its decommission is %v", n, d)
	}
	if n.Mode == ModeDecommissioned && v.CountReplicas(n.ID) > 0 {
		bad("%s holds %d replicas", n, v.CountReplicas(n.ID))
	}
}

func checkOp(v *View, o *Op, bad report) {
	if len(o.Steps) == 0 || len(o.Steps) > maxSteps {
		bad("%s has %d steps", o, len(o.Steps))
	}
	if o.State.Ended() != (o.EndedIndex != 0) {
		bad("%s ended at entry %d", o, o.EndedIndex)
	}
	for _, w := range o.Waits {
		if w >= o.ID {
			bad("%s waits for the later %s", o, w)
		}
		if other := v.Op(w); o.State == OpRunning && other != nil && !other.State.Ended() {
			bad("%s runs before %s has ended", o, other)
		}
	}
	if o.State.Ended() {
		return
	}
	e, n := v.Extent(o.Extent), v.Node(o.Node)
	switch {
	case o.Extent == 0 && (n == nil || !slices.Contains(n.Ops, o.ID)):
		bad("%s is not listed by its node", o)
	case o.Extent != 0 && (e == nil || !slices.Contains(e.Ops, o.ID)):
		bad("%s is not listed by its extent", o)
	}
	if o.State != OpRunning || e == nil {
		return
	}
	if (o.Fence == 0) || o.Attempts == 0 {
		bad("%s runs without a fence", o)
	}
	if r, ok := e.Replica(o.Target); o.Copies() && ok && r.State == ReplicaWhole {
		bad("%s writes over a whole replica of %s", o, e)
	}
	if _, former := e.FormerSince(o.Target); o.Copies() && former {
		bad("%s writes what node %s is to drop", o, o.Target)
	}
	if n := v.Node(o.Target); o.Copies() && (n == nil || n.Mode == ModeDecommissioned) {
		bad("%s writes to %v", o, n)
	}
}

// checkUsage compares what is used with what the extents say.
func checkUsage(v *View, bad report) {
	classes, owners := map[string]Usage{}, map[string]Usage{}
	count := func(of map[string]Usage, name string, bytes uint64) {
		of[name] = Usage{of[name].Extents + 1, of[name].Bytes + bytes}
	}
	v.Extents(0, func(e *Extent) bool {
		if e.State == ExtentDeleted && !e.Kept() {
			return true
		}
		bytes := uint64(0)
		if e.Final() {
			bytes = e.Length - e.Punched // checkHoles counts those
		}
		if count(classes, e.Class, bytes); e.Owner != "" {
			count(owners, string(e.Owner), bytes)
		}
		return true
	})
	for by, want := range map[QuotaBy]map[string]Usage{QuotaByClass: classes, QuotaByIdentity: owners} {
		got := map[string]Usage{}
		v.EachUsed(by, func(name string, u Usage) bool {
			if q, ok := v.Settings.QuotaOf(by, name); ok && u.Extents > q.Extents {
				bad("%s has %d of %d extents", q.Whose(), u.Extents, q.Extents)
			}
			got[name] = u
			return true
		})
		if !maps.Equal(got, want) {
			bad("by %s %v are used, and the extents say %v", by, got, want)
		}
	}
}

// checkIndexes compares the indexes with those that a restore makes of the records.
func checkIndexes(v *View, bad report) {
	fresh, err := restored(v)
	if err != nil {
		bad("restore: %v", err)
		return
	}
	if got, want := indexes(v), indexes(&fresh.View); got != want {
		bad("indexes are\n%s\nthe records imply\n%s", got, want)
	}
}

// checkCounts counts the open operations one by one.
func checkCounts(v *View, bad report) {
	want := map[string]int{}
	v.Ops(0, func(o *Op) bool {
		if o.State.Ended() {
			return true
		}
		want[fmt.Sprintf("%s %s", o.Kind, o.State)]++
		if e := v.Extent(o.Extent); e != nil {
			want[fmt.Sprintf("class %q %s", e.Class, o.State)]++
		}
		source, target := o.Node, o.Target
		if o.State == OpRunning {
			source = o.Source
		}
		if o.Copies() && source != "" {
			want[fmt.Sprintf("from %s %s", source, o.State)]++
		}
		if o.Copies() && target != "" {
			want[fmt.Sprintf("to %s %s", target, o.State)]++
		}
		return true
	})
	got := map[string]int{}
	note := func(what string, l Load) {
		for st, n := range map[OpState]int{OpQueued: l.Queued, OpRunning: l.Running} {
			if n != 0 {
				got[fmt.Sprintf("%s %s", what, st)] = n
			}
		}
	}
	for kind := policies.Kind(1); kind <= maxKind; kind++ {
		note(kind.String(), v.KindLoad(kind))
	}
	v.Classes(func(class string, l Load) bool { note(fmt.Sprintf("class %q", class), l); return true })
	v.nodeLoads.Scan(func(id NodeID, l NodeLoad) bool {
		note("from "+string(id), l.Source)
		note("to "+string(id), l.Target)
		return true
	})
	if !maps.Equal(got, want) {
		bad("counted are %v, there are %v", got, want)
	}
}

func indexes(v *View) string {
	queue := ""
	for _, p := range v.queue.Items() {
		queue += fmt.Sprintf(" %s/%d", p.op, p.priority)
		if p.record != v.Op(p.op) {
			queue += "(an old record)"
		}
	}
	queue += " by age"
	for _, p := range v.waiting.Items() {
		queue += fmt.Sprintf(" %s", p.op)
		if p.record != v.Op(p.op) {
			queue += "(an old record)"
		}
	}
	for _, o := range v.running.Values() {
		if o != v.Op(o.ID) {
			queue += "(an old record runs)"
		}
	}
	return fmt.Sprint("queue", queue, "\nrunning ", v.running.Keys(), "\nended ", v.ended.Items(), "\nreplicas ",
		v.replicas.Items(),
		"\nheld ", v.held.Keys(), v.held.Values(), "\ndrops ", v.drops.Items(), "\nlacking ", v.lacking.Keys(),
		"\nidle ", v.idle.Items(), "\nhollow ", v.hollow.Keys(), "\nunsealed ", v.unsealed.Keys(),
		"\nkept ", v.kept.Items(), v.keptBytes, "\nowned ", v.owned.Items(),
		"\nowners ", v.owners.Keys(), v.owners.Values(),
		"\nkinds ", v.kinds, "\nnode loads ", v.nodeLoads.Keys(), v.nodeLoads.Values(),
		"\nclasses ", v.classes.Keys(), v.classes.Values(),
		"\nkept of classes ", v.byClass.Keys(), v.byClass.Values(), "\nkept of owners ", v.byOwner.Keys(), v.byOwner.Values())
}

// restored is a state made of a dump of v.
func restored(v *View) (*State, error) {
	s, into := Restore(v.Header())
	return s, v.Dump(into)
}

// Dumped is everything a snapshot of v holds, as text.
func Dumped(v *View) string {
	text := fmt.Sprintf("%+v\n", v.Header())
	err := v.Dump(Records{
		Node:    func(n *Node) error { text += fmt.Sprintf("%+v\n", *n); return nil },
		Extent:  func(e *Extent) error { text += fmt.Sprintf("%+v\n", *e); return nil },
		Op:      func(o *Op) error { text += fmt.Sprintf("%+v\n", *o); return nil },
		Session: func(s *Session) error { text += fmt.Sprintf("%+v\n", *s); return nil },
		Policy:  func(p *LoadPolicy) error { text += fmt.Sprintf("%+v\n", *p); return nil },
		Holes:   func(h *Holes) error { text += fmt.Sprintf("%+v\n", *h); return nil },
	})
	if err != nil {
		text += err.Error()
	}
	return text
}
