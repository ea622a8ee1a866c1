package lead

import (
	"errors"
	"math"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// draft is a submission on its way to becoming an entry.
type draft struct {
	sub     *Submission
	admit   *state.Admit
	refusal *wire.Error // why it goes no further; admit is nil then
	open    []state.OpID
}

// draft makes admits of submissions, refusing those that cannot be carried out now.
func (d *decider) draft(view *state.View, batch []*Submission) []*draft {
	drafts := make([]*draft, len(batch))
	placed := &schedule.Placed{}
	all := view.AllReach(state.LevelNamed)
	for i, s := range batch {
		s.named = all
		one := &draft{sub: s}
		var err error
		if one.admit, one.open, err = d.draftOne(view, s, placed); err != nil {
			if !errors.As(err, &one.refusal) {
				one.refusal = wire.Errorf(wire.OpSubmit, wire.CodeInternal, "%v", err)
			}
		}
		drafts[i] = one
	}
	return drafts
}

func (d *decider) draftOne(
	view *state.View, s *Submission, placed *schedule.Placed,
) (*state.Admit, []state.OpID, error) {
	kind, ok := policies.ParseKind(s.Kind)
	if !ok {
		return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodeInvalid, "there is no operation %q", s.Kind)
	}
	if kind == policies.KindPunch && (s.Origin != policies.OriginCell || s.Node == "") {
		return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodeInvalid,
			"a punch deletes ranges of extents and is no operation that waits its turn; use rm LOCATOR")
	}
	if err := schedule.CheckUrgent(view, s.Urgent); err != nil {
		return nil, nil, err
	}
	if kind != policies.KindDelete && (s.GraceMicros != 0 || s.NoGrace) {
		return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodeInvalid, "only a delete has a grace, not a %s", kind)
	}
	admit := &state.Admit{
		Request: s.request(), Kind: kind, Origin: s.Origin, Parent: s.parent,
		Extent: state.ExtentID(s.Extent), Node: state.NodeID(s.Node), Target: state.NodeID(s.Target),
		AskedBy: s.who(), Urgent: s.Urgent,
	}
	switch kind {
	case policies.KindCreate:
		admit.Extent = 0
		return admit, nil, d.draftCreate(view, s, admit, placed)
	case policies.KindDecommission, policies.KindRecommission:
		admit.Extent = 0
		return d.draftNodeOp(view, s, admit)
	}
	e := view.Extent(admit.Extent)
	if e == nil {
		return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "there is no extent %d", s.Extent)
	}
	switch kind {
	case policies.KindMove:
		if _, holds := e.Replica(admit.Node); !holds {
			return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodePrecondition,
				"node %q has no replica of extent %d to move away; name one of its nodes", s.Node, s.Extent)
		}
		if err := schedule.NameTarget(view, e, admit, s.Force); err != nil {
			return nil, nil, err
		}
	case policies.KindPunch:
		if id, lowest := view.Lowest(); lowest < state.LevelRewritten {
			return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodePrecondition,
				"no replica is rewritten while node %s has a build of level %d, which cannot read what that leaves; want level %d",
				id, lowest, state.LevelRewritten)
		}
	default:
		admit.Node = ""
	}
	if kind == policies.KindDelete {
		if err := draftGrace(view, s, admit, e); err != nil {
			return nil, nil, err
		}
	}
	admit.Gen = e.Gen
	return admit, e.Ops, nil
}

// sameGrace refuses a delete beside an open one that keeps the files for another time: they would be merged, and one of
// the two who asked would be told what is not so.
func sameGrace(view *state.View, s *Submission, e *state.Extent, grace state.Micros) error {
	for _, id := range e.Ops {
		o := view.Op(id)
		if s.Origin != policies.OriginUser || o == nil || o.Kind != policies.KindDelete || o.GraceMicros == grace {
			continue
		}
		return wire.Errorf(wire.OpSubmit, wire.CodeConflict, "operation %s deletes extent %d already, with a grace of %s; "+
			"cancel it first to have %s", id, e.ID, o.GraceMicros.Duration(), grace.Duration())
	}
	return nil
}

// draftGrace says how long a delete keeps the files: as long as it says, or as the cell's setting does. What the cell
// itself deletes was never anybody's, or has nothing left.
func draftGrace(view *state.View, s *Submission, admit *state.Admit, e *state.Extent) error {
	grace := state.Micros(min(s.GraceMicros, math.MaxInt64))
	switch {
	case e.Kept() && !s.NoGrace: // a repeated delete must not take an undelete from somebody
		return wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "%s; rm --grace 0 lets its files go now", e.DeletedText())
	case grace != 0 && s.NoGrace:
		return wire.Errorf(wire.OpSubmit, wire.CodeInvalid, "a delete has a grace, or none, not both")
	case grace == 0 && !s.NoGrace && s.Origin == policies.OriginUser:
		grace = view.Settings.DeleteGraceMicros
	}
	if err := sameGrace(view, s, e, grace); err != nil || grace == 0 {
		return err
	}
	if id, lowest := view.Lowest(); lowest < state.LevelKept {
		return wire.Errorf(wire.OpSubmit, wire.CodePrecondition, "nothing can be deleted with grace while node %s has a "+
			"build of level %d, which would not bring it back; want level %d, so run a newer build on it",
			id, lowest, state.LevelKept)
	}
	admit.GraceMicros = grace
	if res := e.CheckGrace(admit); res.Err != nil {
		return res.Err
	}
	return nil
}

// draftCreate chooses the nodes of a new extent, unless the caller did: then those are all that it wants, if he does
// not say otherwise. placed counts what this batch has given to each node already, which the view cannot know.
func (d *decider) draftCreate(view *state.View, s *Submission, admit *state.Admit, placed *schedule.Placed) error {
	if err := state.CheckClass(wire.OpSubmit, s.Class); err != nil {
		return err
	}
	admit.Class, admit.Want = s.Class, s.Want
	if admit.Want == 0 {
		admit.Want = view.Settings.Replicas
	}
	admit.Replicas = nodeIDs(s.Replicas)
	least := view.Settings.Least(admit.Want)
	if len(admit.Replicas) == 0 {
		admit.Replicas = schedule.Place(view, schedule.Placement{
			Want: int(admit.Want), Least: least, Primary: state.NodeID(s.Primary), Avoid: nodeIDs(s.Avoid),
		}, placed)
	}
	if len(admit.Replicas) < least {
		code, why := wire.CodeUnavailable, "see node ls"
		if full := schedule.WhyNoneTake(view); full != "" {
			code, why = wire.CodeNoSpace, full
		}
		return wire.Errorf(wire.OpSubmit, code,
			"%d nodes take new extents now, and an extent of %d replicas must be on %d at least (min-replicas); %s",
			len(admit.Replicas), admit.Want, least, why)
	}
	if s.Want == 0 && len(s.Replicas) > 0 {
		admit.Want = uint8(min(len(s.Replicas), math.MaxUint8)) // more than the state allows, which refuses it
	}
	if s.Origin == policies.OriginCell && view.AllReach(state.LevelNamed) {
		admit.Owner = state.Identity(s.Owner)
	}
	if err := view.CheckExtent(admit.Class, admit.Whose()); err != nil {
		d.quotaRefused()
		return err
	}
	placed.Add(admit.Replicas)
	return nil
}

func nodeIDs(ids []string) []state.NodeID {
	var all []state.NodeID
	for _, id := range ids {
		all = append(all, state.NodeID(id))
	}
	return all
}

func (d *decider) draftNodeOp(view *state.View, s *Submission, admit *state.Admit) (*state.Admit, []state.OpID, error) {
	node := view.Node(admit.Node)
	if node == nil {
		return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "there is no node %q; see node ls", s.Node)
	}
	if admit.Kind == policies.KindDecommission {
		if err := schedule.CheckEmptying(view, node); err != nil && !s.Force {
			return nil, nil, err
		} else if err != nil {
			admit.Forced = true
		}
	}
	return admit, node.Ops, nil
}
