package logs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// decision is a decision as it is told, with the policy's name as far as it is known.
func (c *collector) decision(d *state.Decision) wire.Decision {
	view := &state.New().View
	if c.last != nil {
		view = &c.last.View
	}
	out := describe.Decision(view, d, true)
	if view.Policy(d.Policy) == nil {
		out.Policy = orElse(c.names[d.Policy], "of that digest")
	}
	if p := c.loads[d.Policy]; p != nil && out.Config == nil {
		out.Config = p.Config
	}
	return out
}

// event notes what is no operation and happened to the extent or node in question.
func (c *collector) event(t taken, cmd state.Command) {
	s := about(cmd, t.id, nil)
	if len(s.ops) > 0 {
		return
	}
	switch cmd := cmd.(type) {
	case *state.NodeRoom:
		if cmd.Refuses == "" {
			return // it comes all the time
		}
	case *state.LoadPolicy:
		return
	}
	if c.q.Extent != 0 && slices.Contains(s.extents, c.q.Extent) || c.q.Node != "" && slices.Contains(s.nodes, c.q.Node) {
		text := cmd.CommandType().String() + " " + describe.Command(t.id, cmd)
		if room, ok := cmd.(*state.NodeRoom); ok {
			text += "it takes no replicas: " + room.Refuses
		}
		if t.failed() {
			text += " (refused: " + t.result.Err.Detail + ")"
		}
		c.events = append(c.events, Event{Index: t.Index(), Micros: t.micros(), Text: strings.TrimSpace(text),
			AskedBy: string(state.AskedBy(cmd))})
	}
}

// say is the explanation in sentences.
func (x *Explanation) say(c *collector) []string {
	var out []string
	if x.Now != "" {
		out = append(out, upper(fmt.Sprintf("%s %s, as of entry %d at %s.", x.About, x.Now, x.AsOf, stampText(x.AsOfMicros))))
	}
	events := x.Events
	if c.q.Extent != 0 { // what happened to it comes in order, between what was done with it
		events = nil
	}
	for _, e := range events {
		out = append(out, e.say())
	}
	if c.q.Node != "" {
		out = append(out, fmt.Sprintf("It was the source of %s and the target of %d, and carried out %s.",
			several(c.copiedFrom, "copy", "copies"), c.copiedTo, several(c.carriedOut, "other attempt", "other attempts")))
	}
	later := x.Events[len(events):]
	for _, a := range x.Operations {
		for len(later) > 0 && later[0].Index < a.Index {
			out, later = append(out, later[0].say()), later[1:]
		}
		out = append(out, a.say()...)
	}
	for _, e := range later {
		out = append(out, e.say())
	}
	for _, n := range x.NotYet {
		if c.q.Op == 0 {
			n = "still to come: " + n
		}
		out = append(out, upper(n)+".")
	}
	if x.Partial != "" {
		out = append(out, upper(x.Partial)+".")
	}
	return out
}

func (e Event) say() string {
	text := fmt.Sprintf("Entry %d at %s: %s", e.Index, stampText(e.Micros), e.Text)
	if e.AskedBy != "" {
		text += ", asked for by " + e.AskedBy
	}
	return text + "."
}

// several is how many there are, with the right word.
func several(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func upper(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// say is the account in sentences, in the order in which it happened.
func (a *Account) say() []string {
	out := []string{a.sayWho()}
	out = append(out, a.sayDecision()...)
	for _, k := range a.Decision.Conflicts {
		text := fmt.Sprintf("It met %s %s: %s, because %s", k.Kind, k.With, verdictText(k.Verdict), k.Reason)
		if k.Overruled {
			text = fmt.Sprintf("It met %s %s: the policy answered %s, the envelope has it that %s (%s)", k.Kind, k.With, k.Asked,
				verdictText(k.Verdict), k.Reason)
		}
		out = append(out, text+".")
	}
	for _, r := range a.Rescored {
		out = append(out, fmt.Sprintf("Entry %d at %s gave it priority %d instead, by policy %s: %s.", r.Index,
			stampText(r.Micros), r.Priority, r.Policy, r.Reason))
	}
	for _, m := range a.Met {
		out = append(out, fmt.Sprintf("Later came %s %s, asked for by %s: %s, because %s.", m.Kind, m.With,
			orElse(m.AskedBy, "the cell or nobody known"), laterText(m.Verdict), m.Reason))
	}
	out = append(out, a.sayWaits()...)
	for i, at := range a.Attempts {
		out = append(out, at.say(i+1))
	}
	if len(a.Moves) > 0 {
		out = append(out, fmt.Sprintf("It had %d moves: %s.", len(a.Moves), strings.Join(a.Moves, ", ")))
	}
	return append(out, a.sayEnd())
}

func (a *Account) sayWho() string {
	what := a.Kind
	if a.Extent != 0 {
		what += fmt.Sprintf(" of extent %d", a.Extent)
	}
	if a.Node != "" && a.Extent != 0 {
		what += " from node " + a.Node
	} else if a.Node != "" {
		what += " of node " + a.Node
	}
	if a.Target != "" && a.admit != nil {
		what += " to node " + a.Target
	}
	if len(a.Nodes) > 0 {
		what += " on " + strings.Join(a.Nodes, ", ")
	}
	who := orElse(a.AskedBy, "somebody without a certificate")
	switch a.Origin {
	case "cell":
		who = "the cell itself"
	case "decommission":
		who = "the decommission " + a.Parent
	}
	if a.Origin != "user" && a.AskedBy != "" {
		who += " (" + a.AskedBy + ")"
	}
	text := fmt.Sprintf("Operation %s is a %s, asked for by %s at %s", a.Op, what, who, stampText(a.Asked))
	switch {
	case a.Urgent && a.Forced:
		text += ", as urgent and by force"
	case a.Urgent:
		text += ", as urgent"
	case a.Forced:
		text += ", by force against the check"
	}
	return text + "."
}

func (a *Account) sayDecision() []string {
	d := a.Decision
	text := fmt.Sprintf("Policy %s (%s), in epoch %d, gave it priority %d: %s", d.Policy, ShortDigest(d.Digest), d.Epoch,
		d.Priority, orElse(d.Reason, "it gave no reason"))
	if len(d.Config) > 0 {
		text += "; its configuration was " + policies.ConfigText(d.Config)
	}
	switch {
	case d.Budget > 0:
		text += fmt.Sprintf("; that took %d of %d units", d.Cost, d.Budget)
	case d.Cost > 0:
		text += fmt.Sprintf("; that took %d units", d.Cost)
	}
	out := []string{text + "."}
	if d.Fallback != "" {
		out = append(out, "The native default decided instead of another policy: "+strings.TrimSuffix(d.Fallback, ".")+".")
	}
	if len(d.Facts) > 0 {
		var facts []string
		for _, f := range d.Facts {
			if f.Value != "" {
				facts = append(facts, f.Name+"="+f.Value)
			}
		}
		out = append(out, "The facts were "+strings.Join(facts, " ")+".")
	}
	return out
}

// sayWaits says what it waited for, what took longest first.
func (a *Account) sayWaits() []string {
	total := make(map[string]int64)
	for _, w := range a.Waited {
		total[w.Why] += w.Micros
	}
	whys := slices.SortedFunc(maps.Keys(total), func(x, y string) int { return int(total[y] - total[x]) })
	var out []string
	const told = 8
	for _, why := range whys[:min(len(whys), told)] {
		if why != "" && total[why] > 0 {
			out = append(out, fmt.Sprintf("It waited %s: %s.", lengthText(total[why]), why))
		}
	}
	if len(a.Attempts) > 0 && a.Attempts[0].Started > a.Asked {
		out = append(out, fmt.Sprintf("It started %s after it was asked for.", lengthText(a.Attempts[0].Started-a.Asked)))
	}
	return out
}

func (at *Attempt) say(n int) string {
	text := fmt.Sprintf("Attempt %d began at %s under fence %d", n, stampText(at.Started), at.Fence)
	if at.Executor != "" {
		text += " on " + at.Executor
	}
	if at.Source != "" {
		text += fmt.Sprintf(", copying from %s to %s", at.Source, at.Target)
	}
	if at.Replaces != "" {
		text += " in place of the replica on " + at.Replaces
	}
	if at.Bytes > 0 {
		text += fmt.Sprintf(", %d bytes", at.Bytes)
	}
	if at.Ended == 0 {
		return text + ", and has not ended."
	}
	text += fmt.Sprintf("; after %s, in entry %d, it ended: %s", lengthText(at.Ended-at.Started), at.EndIndex, at.Outcome)
	if at.Detail != "" {
		text += ", " + at.Detail
	}
	return text + "."
}

func (a *Account) sayEnd() string {
	switch {
	case a.Ended == 0 && a.admit != nil && !a.known:
		return fmt.Sprintf("It is %s, as far as the entries tell.", a.State)
	case a.Ended == 0:
		return fmt.Sprintf("It is %s.", a.State)
	}
	text := fmt.Sprintf("It is %s since %s, %s after it was asked for", a.State, stampText(a.Ended),
		lengthText(a.Ended-a.Asked))
	if a.By != "" {
		text += ", by operation " + a.By
	}
	if a.ByWhom != "" {
		text += ", as " + a.ByWhom + " asked"
	}
	if a.Detail != "" && a.State != state.OpSuperseded.String() { // it says the same
		text += ": " + strings.TrimSuffix(a.Detail, ".")
	}
	return text + "."
}

// verdictText is what a verdict means for the operation that arrives.
func verdictText(verdict string) string {
	switch verdict {
	case "wait":
		return "this waits until that has ended"
	case "supersede":
		return "that gives way"
	case "merge":
		return "this becomes part of that"
	case "reject":
		return "this is refused"
	case "coexist":
		return "both go on"
	}
	return verdict
}

// laterText is what it means for the one that was there.
func laterText(verdict string) string {
	switch verdict {
	case "wait":
		return "it waits until this has ended"
	case "supersede":
		return "this gives way"
	case "merge":
		return "it becomes part of this"
	case "reject":
		return "it is refused"
	case "coexist":
		return "both go on"
	}
	return verdict
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// ShortDigest is enough of a digest to know a policy by; other names stay as they are.
func ShortDigest(name string) string {
	const enough = 12
	if algorithm, hex, ok := strings.Cut(name, ":"); ok && len(hex) > enough {
		return algorithm + ":" + hex[:enough]
	}
	return name
}
