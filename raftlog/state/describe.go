package state

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// String is the replica's node, marked when it cannot be trusted: "n1", "n2?".
func (r Replica) String() string {
	if r.State == ReplicaSuspect {
		return string(r.Node) + "?"
	}
	return string(r.Node)
}

// String is the node and the entry since which its file must go: "n1@17".
func (f Former) String() string { return fmt.Sprintf("%s@%d", f.Node, f.Since) }

// String is one line about the extent, for people and tests.
func (e *Extent) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "extent %d %s gen=%d", e.ID, e.State, e.Gen)
	if e.Kept() {
		fmt.Fprintf(&b, " kept-until=%s", momentText(e.KeptUntil))
	}
	if e.GraceEnded != 0 {
		fmt.Fprintf(&b, " grace-ended=%s", momentText(e.GraceEnded))
	}
	if e.Final() {
		fmt.Fprintf(&b, " length=%d sum=%08x", e.Length, e.Sum)
	}
	if e.Holes > 0 {
		fmt.Fprintf(&b, " punched=%d holes=%d", e.Punched, e.Holes)
	}
	if e.Damaged {
		fmt.Fprintf(&b, " damaged=[%d,%d)", e.DamagedFrom, e.DamagedTo)
	}
	if e.State != ExtentDeleted || e.Kept() {
		fmt.Fprintf(&b, " replicas=%s want=%d", list(e.Replicas), e.Want)
	}
	if e.Class != "" {
		fmt.Fprintf(&b, " class=%s", e.Class)
	}
	if e.Owner != "" {
		fmt.Fprintf(&b, " owner=%s", e.Owner)
	}
	if len(e.Former) > 0 {
		fmt.Fprintf(&b, " drop=%s", list(e.Former))
	}
	if len(e.Ops) > 0 {
		fmt.Fprintf(&b, " ops=%s", list(e.Ops))
	}
	return b.String()
}

// String is one line about the node.
func (n *Node) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s %s %s incarnation=%d", n.ID, n.State, n.Mode, n.Incarnation)
	if n.Voter {
		b.WriteString(" voter")
	}
	if n.Seen != 0 {
		fmt.Fprintf(&b, " seen=%d", n.Seen)
	}
	if n.Unproven {
		b.WriteString(" unproven")
	}
	if n.Decommission != 0 {
		fmt.Fprintf(&b, " decommission=%s", n.Decommission)
	}
	if len(n.Ops) > 0 {
		fmt.Fprintf(&b, " ops=%s", list(n.Ops))
	}
	if n.Total > 0 {
		fmt.Fprintf(&b, " free=%s of %s", UnitsText(n.Free), UnitsText(n.Total))
	}
	if n.Refuses != "" {
		fmt.Fprintf(&b, " refuses=%q", n.Refuses)
	}
	if n.Largest > 0 {
		fmt.Fprintf(&b, " largest=%s", UnitsText(n.Largest))
	}
	if n.IsPaused() {
		fmt.Fprintf(&b, " paused until=%s forced=%t", n.Pause.Until.Time().UTC().Format(time.RFC3339), n.Pause.Forced)
		if n.Pause.By != "" {
			fmt.Fprintf(&b, " by=%s", n.Pause.By)
		}
	}
	for _, d := range n.Disks {
		fmt.Fprintf(&b, " %s=%s@%s", d.Disk, d.State, d.Since.Time().UTC().Format(time.RFC3339))
	}
	return b.String()
}

// String is one line about the operation; Describe has all of it.
func (o *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "op %s %s %s", o.ID, o.Kind, o.State)
	if o.Extent != 0 {
		fmt.Fprintf(&b, " extent=%d", o.Extent)
	}
	if o.Node != "" {
		fmt.Fprintf(&b, " node=%s", o.Node)
	}
	if !o.State.Ended() {
		fmt.Fprintf(&b, " priority=%d", o.Decision.Priority)
		o.describePath(&b)
	}
	if o.Parent != 0 {
		fmt.Fprintf(&b, " parent=%s", o.Parent)
	}
	if o.By != 0 {
		fmt.Fprintf(&b, " by=%s", o.By)
	}
	if o.Detail != "" {
		fmt.Fprintf(&b, " (%s)", o.Detail)
	}
	return b.String()
}

// describePath is what an open operation waits for, and who works on it.
func (o *Op) describePath(b *strings.Builder) {
	if o.State == OpQueued && o.Turn != 0 {
		fmt.Fprintf(b, " turn=%d", o.Turn)
	}
	if o.Urgent {
		b.WriteString(" urgent")
	}
	if len(o.Waits) > 0 && o.State == OpQueued {
		fmt.Fprintf(b, " waits=%s", list(o.Waits))
	}
	if o.Fence != 0 {
		fmt.Fprintf(b, " fence=%d attempt=%d", o.Fence, o.Attempts)
	}
	for _, f := range []struct {
		key  string
		node NodeID
	}{{"source", o.Source}, {"target", o.Target}, {"replaces", o.Replaces}, {"executor", o.Executor}} {
		if f.node != "" {
			fmt.Fprintf(b, " %s=%s", f.key, f.node)
		}
	}
}

// Describe is the operation's whole life, a line a step.
func (o *Op) Describe(w io.Writer) {
	fmt.Fprintln(w, o)
	for _, k := range o.Decision.Conflicts {
		fmt.Fprintf(w, "  against %s %s: %s", k.WithKind, k.With, k.Final)
		if k.Asked != k.Final {
			fmt.Fprintf(w, ", asked %s", k.Asked)
		}
		if k.Reason != "" {
			fmt.Fprintf(w, " (%s)", k.Reason)
		}
		fmt.Fprintln(w)
	}
	for _, s := range o.Steps {
		fmt.Fprintf(w, "  at %d %s: %s\n", s.Index, s.State, s.Note)
	}
}

// String is one line about the session.
func (ses *Session) String() string {
	text := fmt.Sprintf("session %s answers=%d dropped=%d", OpID(ses.ID), len(ses.Answers), ses.Dropped)
	if ses.Owner != "" {
		text += " of " + string(ses.Owner)
	}
	return text
}

// Describe prints nodes, extents and open operations, a line each, by rising ID.
func (v *View) Describe(w io.Writer) {
	v.Nodes(func(n *Node) bool {
		fmt.Fprintln(w, n)
		return true
	})
	v.Extents(0, func(e *Extent) bool {
		fmt.Fprintln(w, e)
		return true
	})
	var open []*Op
	keep := func(o *Op) bool {
		open = append(open, o)
		return true
	}
	v.Queued(keep)
	v.Running(keep)
	slices.SortFunc(open, func(a, b *Op) int { return compare(a.ID, b.ID) })
	for _, o := range open {
		fmt.Fprintln(w, o)
	}
}

// String says what a command came to, in a line.
func (r Result) String() string {
	var b strings.Builder
	switch {
	case r.Stale:
		fmt.Fprintf(&b, "stale: %s", r.Err.Detail)
	case r.Err != nil:
		fmt.Fprintf(&b, "refused, %s: %s", r.Err.Code, r.Err.Detail)
	default:
		b.WriteString("ok")
	}
	if r.Merged {
		b.WriteString(" merged")
	}
	if r.Op != 0 && r.Err == nil {
		fmt.Fprintf(&b, " op=%s", r.Op)
	}
	if r.Extent != 0 && r.Err == nil {
		fmt.Fprintf(&b, " extent=%d", r.Extent)
	}
	for _, no := range r.Refused {
		fmt.Fprintf(&b, "; range %d: %s: %s", no.At, no.Err.Code, no.Err.Detail)
	}
	if r.Session != 0 {
		fmt.Fprintf(&b, " session=%s", OpID(r.Session))
	}
	return b.String()
}

func list[T fmt.Stringer](items []T) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = item.String()
	}
	return strings.Join(texts, ",")
}
