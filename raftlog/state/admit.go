package state

import (
	"fmt"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// admit brings an operation in, after checking again what the leader decided: the request is new,
// the policy still decides, nothing about the extent has changed, every verdict is inside the
// envelope and what the operation needs is there.
func (s *State) admit(at moment, c *Admit) Result {
	if res, ok := s.Answered(c); ok {
		return res
	}
	res := s.admitNew(at, c)
	res.Kind = c.Kind
	if !res.Stale {
		s.remember(c.Request, res)
	}
	return res
}

func (s *State) admitNew(at moment, c *Admit) Result {
	if c.Decision.Epoch != s.PolicyEpoch {
		return stale("decided under policy epoch %d, now it is %d", c.Decision.Epoch, s.PolicyEpoch)
	}
	open, res := s.openOps(c)
	if res.Err != nil {
		return res
	}
	if res := s.checkPossible(c); res.Err != nil {
		return res
	}
	if res := s.checkVerdicts(c, open); res.Err != nil {
		return res
	}
	if len(open) >= maxOpenOps && !joins(c) {
		return refused(wire.CodeExhausted, "%d operations on it are open already; wait for some to end", len(open))
	}
	o := &Op{
		ID: at.op(), Kind: c.Kind, State: OpQueued, Extent: c.Extent, Node: c.Node, Target: c.Target,
		Origin: c.Origin, Parent: c.Parent, Decision: c.Decision, AskedBy: c.AskedBy, Urgent: c.Urgent,
		Named: c.Named, GraceMicros: c.GraceMicros,
	}
	o.Decision.Conflicts = slices.Clone(c.Decision.Conflicts)
	return s.yieldAndQueue(at, c, o)
}

// openOps are the open operations that the admit must have been decided against.
func (s *State) openOps(c *Admit) ([]OpID, Result) {
	switch c.Kind {
	case policies.KindCreate:
		if c.Extent != 0 || c.Node != "" {
			return nil, refused(wire.CodeInvalid, "a create names neither an extent nor a node; its number is given out")
		}
		return nil, Result{}
	case policies.KindDecommission, policies.KindRecommission:
		n := s.Node(c.Node)
		if n == nil || c.Extent != 0 {
			return nil, refused(wire.CodeNotFound, "a %s needs a node and no extent: there is no node %q", c.Kind, c.Node)
		}
		return n.Ops, Result{}
	}
	e := s.Extent(c.Extent)
	if e == nil {
		return nil, refused(wire.CodeNotFound, "there is no extent %d", c.Extent)
	}
	if e.Gen != c.Gen {
		return nil, stale("decided under generation %d of extent %d, now it is %d", c.Gen, c.Extent, e.Gen)
	}
	return e.Ops, Result{}
}

// maxOpenOps bounds the open operations on one extent or node, however often a policy says wait.
const maxOpenOps = 64

// joins reports whether the operation becomes part of another, or nothing.
func joins(c *Admit) bool {
	return slices.ContainsFunc(c.Decision.Conflicts, func(k Conflict) bool {
		return k.Final == policies.Merge || k.Final == policies.Reject
	})
}

// checkPossible refuses what could never start in this state. openOps has found the extent or node.
func (s *State) checkPossible(c *Admit) Result {
	if c.Named && c.Target == "" {
		return refused(wire.CodeInvalid, "a %s that keeps its target names one", c.Kind)
	}
	if c.Urgent && !quietKinds.Has(c.Kind) {
		return refused(wire.CodeInvalid, "a %s is never urgent: it waits for no quiet window; want %s", c.Kind, quietKinds)
	}
	if c.Kind != policies.KindMove && (c.Target != "" || c.Parent != 0) {
		return refused(wire.CodeInvalid, "only a move has a target and a parent, not a %s", c.Kind)
	}
	if c.Kind != policies.KindDelete && c.GraceMicros != 0 {
		return refused(wire.CodeInvalid, "only a delete has a grace, not a %s", c.Kind)
	}
	switch c.Kind {
	case policies.KindCreate:
		return s.checkCreate(c)
	case policies.KindDecommission, policies.KindRecommission:
		return s.checkNodeOp(c)
	}
	e := s.Extent(c.Extent)
	if e.State == ExtentDeleted && !e.takes(c) {
		return refused(wire.CodeNotFound, "extent %d is deleted%s", c.Extent, e.graceText())
	}
	switch c.Kind {
	case policies.KindSeal:
		if e.State == ExtentSealed {
			return refused(wire.CodePrecondition, "extent %d cannot be sealed: it is already", c.Extent)
		}
	case policies.KindRepair, policies.KindMove:
		if !e.Copyable(c.Kind) {
			return refused(wire.CodePrecondition, "extent %d must be sealed before a %s; submit a seal first", c.Extent, c.Kind)
		}
		if c.Kind == policies.KindMove {
			return s.checkMove(c, e)
		}
	case policies.KindPunch:
		return checkRewrite(c, e)
	case policies.KindDelete:
		return e.CheckGrace(c)
	default:
		return refused(wire.CodeInvalid, "this version has no operation %s", c.Kind)
	}
	return Result{}
}

func (s *State) checkMove(c *Admit, e *Extent) Result {
	if _, holds := e.Replica(c.Node); !holds {
		return refused(wire.CodePrecondition, "node %q has no replica of extent %d to move", c.Node, c.Extent)
	}
	if c.Target != "" && s.Node(c.Target) == nil {
		return refused(wire.CodeNotFound, "there is no node %s to move extent %d to", c.Target, c.Extent)
	}
	if c.Parent == 0 {
		return Result{}
	}
	parent := s.Op(c.Parent)
	if parent == nil || parent.State.Ended() || parent.Kind != policies.KindDecommission || parent.Node != c.Node {
		return stale("operation %s is no open decommission of node %s", c.Parent, c.Node)
	}
	return Result{}
}

// maxReplicas bounds the replicas of an extent.
const maxReplicas = 9

func (s *State) checkCreate(c *Admit) Result {
	if len(c.Class) > policies.ClassBytes {
		return refused(wire.CodeInvalid, "class %q is longer than %d bytes", c.Class, policies.ClassBytes)
	}
	if c.Want > maxReplicas {
		return refused(wire.CodeInvalid, "an extent has at most %d replicas, not %d", maxReplicas, c.Want)
	}
	if len(c.Replicas) == 0 || int(c.Want) < len(c.Replicas) {
		return refused(wire.CodeInvalid, "a create names 1 to %d nodes, not %d", c.Want, len(c.Replicas))
	}
	for i, id := range c.Replicas {
		n := s.Node(id)
		if n == nil || !n.Takes() {
			return stale("node %s takes no replicas now", id)
		}
		for _, other := range c.Replicas[:i] {
			if other == id {
				return refused(wire.CodeInvalid, "node %s is named twice", id)
			}
		}
	}
	if err := s.CheckExtent(c.Class, c.Whose()); err != nil {
		return Result{Err: err}
	}
	return Result{}
}

func (s *State) checkNodeOp(c *Admit) Result {
	n := s.Node(c.Node)
	if c.Kind == policies.KindRecommission {
		if n.Mode == ModeActive && len(n.Ops) == 0 { // a queued decommission can still be taken back
			return refused(wire.CodePrecondition, "node %s is active already", c.Node)
		}
		return Result{}
	}
	if n.Mode == ModeDecommissioned {
		return refused(wire.CodePrecondition, "node %s is decommissioned already", c.Node)
	}
	for _, other := range s.takers() {
		if other != c.Node {
			return Result{}
		}
	}
	return refused(wire.CodePrecondition, "no other node is up to take the replicas of %s; add a node or bring one back",
		c.Node)
}

func (s *State) takers() []NodeID {
	var ids []NodeID
	s.Nodes(func(n *Node) bool {
		if n.Takes() {
			ids = append(ids, n.ID)
		}
		return true
	})
	return ids
}

// checkVerdicts compares the recorded verdicts with the envelope and with the operations that
// are really open. The leader saw the same ones, unless the state has changed since.
func (s *State) checkVerdicts(c *Admit, open []OpID) Result {
	if len(c.Decision.Conflicts) != len(open) {
		return stale("decided against %d open operations, now there are %d", len(c.Decision.Conflicts), len(open))
	}
	for i, k := range c.Decision.Conflicts {
		if k.With != open[i] {
			return stale("decided against operation %s, now there is %s", k.With, open[i])
		}
		existing := s.Op(k.With)
		safe := policies.Envelope(existing.Kind, c.Kind, existing.Node == c.Node)
		if !safe.Allowed.Has(k.Final) {
			return refused(wire.CodeEnvelope, "%s of an incoming %s against %s %s is outside the envelope", k.Final, c.Kind,
				existing.Kind, k.With)
		}
	}
	return Result{}
}

// yieldAndQueue carries out the verdicts: the strongest one decides what becomes of o. A reject or
// merge changes nothing else, so it is looked for first.
func (s *State) yieldAndQueue(at moment, c *Admit, o *Op) Result {
	for _, k := range c.Decision.Conflicts {
		switch k.Final {
		case policies.Reject:
			return s.rejectOp(at, o, k)
		case policies.Merge:
			return s.mergeOp(at, o, k)
		}
	}
	for _, k := range c.Decision.Conflicts {
		switch {
		case s.yields(k.With, o):
			s.endOp(at, k.With, OpSuperseded, o.ID, "gave way to "+o.Kind.String()+" "+o.ID.String()+
				"; its node asks again when nothing else is open")
		case k.Final == policies.Supersede && !s.canEnd(k.With), k.Final == policies.Wait:
			o.Waits = append(o.Waits, k.With)
		case k.Final == policies.Supersede:
			s.endOp(at, k.With, OpSuperseded, o.ID, "superseded by "+o.Kind.String()+" "+o.ID.String())
		}
	}
	o.step(at, admitNote(c))
	switch {
	case c.Kind == policies.KindCreate:
		s.addExtent(at, c, o)
	case c.Extent != 0:
		e := s.Extent(c.Extent).clone()
		e.Gen++
		e.Ops = append(e.Ops, o.ID)
		s.putExtent(e)
	default:
		n := s.Node(c.Node).clone()
		n.Ops = append(n.Ops, o.ID)
		s.nodes.Set(n.ID, n)
	}
	s.putOp(o)
	return Result{Op: o.ID, Extent: o.Extent, Started: c.Start && s.startAtOnce(at, o)}
}

func (s *State) rejectOp(at moment, o *Op, k Conflict) Result {
	o.State, o.By, o.EndedMicros, o.EndedIndex = OpRejected, k.With, at.now, at.index
	o.Detail = clip(s.Op(k.With).Kind.String() + " " + k.With.String() + " is in the way: " + k.Reason)
	o.step(at, "rejected")
	s.putOp(o)
	what := "node " + string(o.Node)
	if o.Extent != 0 {
		what = fmt.Sprintf("extent %d", o.Extent)
	}
	err := refuse(wire.CodeConflict, "%s of %s is refused: %s (operation %s)", o.Kind, what, o.Detail, o.ID)
	return Result{Op: o.ID, Extent: o.Extent, Err: err}
}

func (s *State) mergeOp(at moment, o *Op, k Conflict) Result {
	e := s.Op(k.With).clone()
	note := "a later " + o.Kind.String() + " was merged into this"
	if o.Urgent && !e.Urgent {
		e.Urgent = true
		note += ", which makes it urgent"
	}
	e.step(at, note)
	s.putOp(e)
	return Result{Op: e.ID, Extent: e.Extent, Merged: true}
}

func (s *State) addExtent(at moment, c *Admit, o *Op) {
	e := &Extent{
		ID: s.NextExtent, State: ExtentCreating, Class: c.Class, Want: c.Want, Gen: 1,
		Ops: []OpID{o.ID}, CreatedMicros: at.now, Owner: c.Whose(),
	}
	s.NextExtent++
	for _, n := range c.Replicas {
		e.setReplica(n, ReplicaWhole)
	}
	o.Extent = e.ID
	s.putExtent(e)
}

func admitNote(c *Admit) string {
	if c.Forced {
		by := "force"
		if c.AskedBy != "" {
			by += " of " + string(c.AskedBy)
		}
		return "admitted by " + by + ", against the check: " + c.Decision.Reason
	}
	if c.Urgent {
		return "admitted as urgent: " + c.Decision.Reason
	}
	return "admitted: " + c.Decision.Reason
}
