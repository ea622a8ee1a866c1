package node

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	listLimit   = 1000             // items of one page
	maxWait     = time.Minute      // of one OpWait; the caller asks again
	fewOps      = 16               // a look at no more is cheap, and needs no turn: all who wait look at each change
	catchUpWait = 10 * time.Second // for an operation that this node has not heard of yet
)

func (n *Node) serveOps(ctx context.Context, c *mux.ServerCall, req wire.OpsRequest) error {
	var after state.OpID
	if req.After != "" {
		id, err := parseOp(req.After)
		if err != nil {
			return err
		}
		after = id + 1
	}
	limit := pageLimit(req.Limit)
	view := n.log.View()
	look := n.lookAt(view)
	var reply wire.OpsReply
	view.Ops(after, func(o *state.Op) bool {
		if (req.Open && o.State.Ended()) || (req.Extent != 0 && uint64(o.Extent) != req.Extent) {
			return true
		}
		if len(reply.Ops) == limit {
			reply.More = true
			return false
		}
		op := describeOp(view, o, false)
		op.Blocked = look.Blocked(o)
		reply.Ops = append(reply.Ops, op)
		return true
	})
	return c.Reply(&reply, nil)
}

func pageLimit(asked int) int {
	if asked <= 0 {
		return listLimit
	}
	return min(asked, listLimit)
}

func (n *Node) serveShowOp(ctx context.Context, c *mux.ServerCall, req wire.ShowOpRequest) error {
	id, err := parseOp(req.Op)
	if err != nil {
		return err
	}
	return n.replyOp(ctx, c, id)
}

func (n *Node) replyOp(ctx context.Context, c *mux.ServerCall, id state.OpID) error {
	n.waitFor(ctx, id)
	view := n.log.View()
	o := view.Op(id)
	if o == nil {
		return wire.Errorf(c.Op(), wire.CodeNotFound, "there is no operation %s, or it ended long ago; see log show %d", id, id.Index())
	}
	out := describeOp(view, o, true)
	out.Blocked = n.lookAt(view).Blocked(o)
	return c.Reply(&out, nil)
}

// waitFor gives this node a moment to hear of an operation: its ID tells which entry admitted it.
func (n *Node) waitFor(ctx context.Context, id state.OpID) {
	if id.Index() > n.log.CommitIndex() && n.log.IsLeader() {
		return // it cannot exist
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if id.Index() > n.log.AppliedIndex() && n.catchUp(ctx) != nil {
		n.logger.Debug("asked for an operation that is not known here", "op", id.String())
	}
}

// serveWait answers when all operations have ended, or when the caller's patience has.
func (n *Node) serveWait(ctx context.Context, c *mux.ServerCall, req wire.WaitRequest) error {
	if len(req.Ops) > maxSubmissions {
		return wire.Errorf(c.Op(), wire.CodeInvalid, "%d operations at once; at most %d", len(req.Ops), maxSubmissions)
	}
	ids := make([]state.OpID, len(req.Ops))
	for i, s := range req.Ops {
		id, err := parseOp(s)
		if err != nil {
			return err
		}
		ids[i] = id
		n.waitFor(ctx, id)
	}
	patience := n.after(min(time.Duration(req.WaitMicros)*time.Microsecond, maxWait))
	for {
		changed := n.log.Changed()
		reply, open, err := n.lookAtOps(ctx, c, ids)
		if err != nil {
			return err
		}
		if open == 0 {
			return c.Reply(reply, nil)
		}
		select {
		case <-changed:
		case <-patience:
			return c.Reply(reply, nil)
		case <-ctx.Done():
			return ctx.Err()
		case <-n.drainCh:
			return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is stopping; ask another node", n.id)
		case <-n.ctx.Done():
			return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is stopping; ask another node", n.id)
		}
	}
}

// lookAtOps tells where operations stand, and how many of them are open.
func (n *Node) lookAtOps(ctx context.Context, c *mux.ServerCall, ids []state.OpID) (*wire.OpsReply, int, error) {
	if len(ids) > fewOps {
		done, err := n.turn(ctx, c, workLists)
		if err != nil {
			return nil, 0, err
		}
		defer done()
	}
	return describeAll(n.log.View(), ids)
}

func describeAll(view *state.View, ids []state.OpID) (reply *wire.OpsReply, open int, err error) {
	reply = &wire.OpsReply{}
	for _, id := range ids {
		o := view.Op(id)
		if o == nil {
			return nil, 0, wire.Errorf(wire.OpWait, wire.CodeNotFound, "there is no operation %s, or it ended long ago", id)
		}
		if !o.State.Ended() {
			open++
		}
		reply.Ops = append(reply.Ops, describeOp(view, o, false))
	}
	return reply, open, nil
}

var originNames = map[policies.Origin]string{
	policies.OriginUser: "user", policies.OriginCell: "cell", policies.OriginDecommission: "decommission",
}

// describeOp says everything about an operation; the facts and steps only when it is asked for alone.
func describeOp(view *state.View, o *state.Op, alone bool) wire.Op {
	out := wire.Op{
		ID: o.ID.String(), Kind: o.Kind.String(), State: o.State.String(), Extent: uint64(o.Extent), Node: string(o.Node),
		Origin: originNames[o.Origin], Fence: uint64(o.Fence), Source: string(o.Source), Target: string(o.Target),
		Attempts: int(o.Attempts), Detail: o.Detail, Ended: int64(o.EndedMicros), Decision: describeDecision(view, o, alone),
		AskedBy: string(o.AskedBy), Urgent: o.Urgent,
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
			out.Steps = append(out.Steps, wire.Step{Index: uint64(s.Index), Micros: int64(s.Micros), State: s.State.String(), Note: s.Note})
		}
	}
	return out
}

func describeDecision(view *state.View, o *state.Op, alone bool) wire.Decision {
	d := o.Decision
	out := wire.Decision{
		Policy: policyName(view, d.Policy), Digest: d.Policy, Epoch: d.Epoch, Priority: d.Priority, Reason: d.Reason,
		Cost: d.Cost, Budget: d.Budget, Fallback: d.Fallback,
	}
	for _, k := range d.Conflicts {
		out.Conflicts = append(out.Conflicts, wire.Conflict{
			With: k.With.String(), Kind: k.WithKind.String(), Asked: k.Asked.String(), Verdict: k.Final.String(),
			Overruled: k.Asked != k.Final, Reason: k.Reason,
		})
	}
	if alone {
		out.Facts = describeFacts(&d.Facts)
		if p := view.Policy(d.Policy); p != nil {
			out.Config = p.Config
		}
	}
	return out
}

func policyName(view *state.View, digest string) string {
	if p := view.Policy(digest); p != nil {
		return strings.TrimSpace(p.Name + " " + p.Version)
	}
	return "native default"
}

var phaseNames = map[policies.Phase]string{
	policies.PhaseIncoming: "incoming", policies.PhaseQueued: "queued", policies.PhaseRunning: "running",
}

func describeFacts(f *policies.Facts) []wire.Fact {
	num := func(n uint64) string { return strconv.FormatUint(n, 10) }
	facts := []wire.Fact{
		{Name: "kind", Value: f.Kind.String()},
		{Name: "phase", Value: phaseNames[f.Phase]},
		{Name: "origin", Value: originNames[f.Origin]},
		{Name: "attempts", Value: num(uint64(f.Attempts))},
	}
	if f.Extent != 0 || f.Kind == policies.KindCreate {
		facts = append(facts,
			wire.Fact{Name: "extent", Value: num(f.Extent)},
			wire.Fact{Name: "class", Value: f.ClassString()},
			wire.Fact{Name: "open", Value: strconv.FormatBool(f.ExtentOpen)},
			wire.Fact{Name: "length_bytes", Value: num(f.LengthBytes)},
			wire.Fact{Name: "live_replicas", Value: num(uint64(f.LiveReplicas))},
			wire.Fact{Name: "want_replicas", Value: num(uint64(f.WantReplicas))},
		)
	}
	return append(facts,
		wire.Fact{Name: "now_micros", Value: strconv.FormatInt(f.NowMicros, 10)},
		wire.Fact{Name: "waiting_micros", Value: strconv.FormatInt(f.WaitingMicros, 10)},
		wire.Fact{Name: "queued_ops", Value: num(uint64(f.QueuedOps))},
		wire.Fact{Name: "running_ops", Value: num(uint64(f.RunningOps))},
		wire.Fact{Name: "running_same_kind", Value: num(uint64(f.RunningSame))},
	)
}

// describePlan says in a sentence what an admit would do.
func describePlan(view *state.View, a *state.Admit) string {
	var plan string
	switch a.Kind {
	case policies.KindDelete:
		e := view.Extent(a.Extent)
		size := "length not final yet"
		if e.State == state.ExtentSealed {
			size = fmt.Sprintf("%d bytes", e.Length)
		}
		plan = fmt.Sprintf("delete extent %d: %s, files on %s", e.ID, size, strings.Join(replicaNodes(e), ", "))
	case policies.KindDecommission:
		plan = fmt.Sprintf("decommission %s: move %d replicas to other nodes", a.Node, view.CountReplicas(a.Node))
		if view.Node(a.Node).Voter {
			plan += ", and its vote"
		}
		if view.Node(a.Node).State == state.NodeDown {
			plan += "; it is down: if it still is at the end, it is removed, and needs an empty --dir to come back"
		}
	case policies.KindCreate:
		plan = fmt.Sprintf("create an extent on %v", a.Replicas)
	case policies.KindRecommission:
		plan = fmt.Sprintf("recommission %s", a.Node)
	default:
		plan = fmt.Sprintf("%s extent %d", a.Kind, a.Extent)
	}
	for _, k := range a.Decision.Conflicts {
		plan += fmt.Sprintf("; %s %s %s (%s)", k.Final, k.WithKind, k.With, k.Reason)
	}
	return plan
}
