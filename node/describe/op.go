package describe

import (
	"cmp"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Ops says where operations stand, and how many of them are open. The error is that there is no such operation.
func Ops(view *state.View, ids []state.OpID) (reply *wire.OpsReply, open int, err error) {
	reply = &wire.OpsReply{}
	for _, id := range ids {
		o := view.Op(id)
		if o == nil {
			return nil, 0, wire.Errorf(wire.OpWait, wire.CodeNotFound, "there is no operation %s, or it ended long ago", id)
		}
		if !o.State.Ended() {
			open++
		}
		reply.Ops = append(reply.Ops, Op(view, o, false))
	}
	return reply, open, nil
}

var originNames = map[policies.Origin]string{
	policies.OriginUser: "user", policies.OriginCell: "cell", policies.OriginDecommission: "decommission",
}

// Op says everything about an operation; the facts and steps only when it is asked for alone.
func Op(view *state.View, o *state.Op, alone bool) wire.Op {
	out := wire.Op{
		ID: o.ID.String(), Kind: o.Kind.String(), State: o.State.String(), Extent: uint64(o.Extent), Node: string(o.Node),
		Origin: originNames[o.Origin], Fence: uint64(o.Fence), Source: string(o.Source), Target: string(o.Target),
		Attempts: int(o.Attempts), Detail: o.Detail, Ended: int64(o.EndedMicros),
		Decision: Decision(view, &o.Decision, alone), AskedBy: string(o.AskedBy), Urgent: o.Urgent,
	}
	if o.Parent != 0 {
		out.Parent = o.Parent.String()
	}
	if o.By != 0 {
		out.By = o.By.String()
	}
	for _, w := range o.Waits {
		out.Waits = append(out.Waits, w.String())
	}
	for i, s := range o.Steps {
		if i == 0 {
			out.Admitted = int64(s.Micros)
		}
		if s.State == state.OpRunning {
			out.Started = int64(s.Micros)
		}
		if alone {
			step := wire.Step{Index: uint64(s.Index), Micros: int64(s.Micros), State: s.State.String(), Note: s.Note}
			out.Steps = append(out.Steps, step)
		}
	}
	return out
}

// Decision says everything about a decision; the facts and the policy's configuration only with alone.
func Decision(view *state.View, d *state.Decision, alone bool) wire.Decision {
	out := wire.Decision{
		Policy: PolicyName(view, d.Policy), Digest: d.Policy, Epoch: d.Epoch, Priority: d.Priority, Reason: d.Reason,
		Cost: d.Cost, Budget: d.Budget, Fallback: d.Fallback,
	}
	for _, k := range d.Conflicts {
		out.Conflicts = append(out.Conflicts, wire.Conflict{
			With: k.With.String(), Kind: k.WithKind.String(), Asked: k.Asked.String(), Verdict: k.Final.String(),
			Overruled: k.Asked != k.Final, Reason: k.Reason,
		})
	}
	if alone {
		out.Facts = facts(&d.Facts)
		if p := view.Policy(d.Policy); p != nil {
			out.Config = p.Config
		}
	}
	return out
}

// Origin is who has brought an operation about, in a word.
func Origin(o policies.Origin) string { return originNames[o] }

// PolicyName is a policy as people call it: its name and version.
func PolicyName(view *state.View, digest string) string {
	if p := view.Policy(digest); p != nil {
		return strings.TrimSpace(p.Name + " " + p.Version)
	}
	return "native default"
}

// Person names who asked for something in what people read.
func Person(who state.Identity) string { return cmp.Or(string(who), "a client") }
