package node

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// maxWaiting bounds the submissions that wait to be decided, and maxWaitingEach those of one sharer; more are refused.
	maxWaiting     = 16384
	maxWaitingEach = 4096
	decideAtOnce   = 256
	decideAttempts = 8 // of one submission, while the state changes under it
)

// admission decides about submissions on the leader: is it possible, what are the facts, what does
// the policy say. Submissions that wait while a batch is proposed are decided together in the next.
// What changes between the decision and its entry is found by state.Apply, which refuses the entry
// as stale; then the submission is decided again.
type admission struct {
	n    *Node
	news chan struct{} // holds one token while there may be something in queue

	mu         sync.Mutex
	queue      fair.Queue[*submission] // Guarded by mu.
	turnedAway uint64                  // Guarded by mu.
}

// submission is one operation that somebody asks for.
type submission struct {
	wire.Submission
	session state.SessionID
	origin  policies.Origin
	asker   state.Identity // empty where the cell asks, or nobody can tell
	named   bool           // every node understands who asks, and sums; looked at anew for each decision
	sharer  string         // whose line it waits in
	parent  state.OpID
	force   bool
	summed  uint64 // see sum; 0 until it was asked for
	stale   string // why the last decision was refused

	done chan admitted // buffered, one
}

type admitted struct {
	res wire.Submitted
	err error // of the proposal: nothing is known of the result
}

func newAdmission(n *Node) *admission {
	return &admission{
		n: n, news: make(chan struct{}, 1), queue: fair.Queue[*submission]{Most: maxWaiting, MostEach: maxWaitingEach},
	}
}

// submit waits for the results of submissions that are decided here, on the leader.
func (a *admission) submit(ctx context.Context, subs []*submission) ([]wire.Submitted, error) {
	leave := a.enter(subs)
	results := make([]wire.Submitted, len(subs))
	for i, s := range subs {
		select {
		case got := <-s.done:
			if got.err != nil {
				leave()
				return nil, partly(got.err, len(subs))
			}
			results[i] = got.res
		case <-ctx.Done():
			late := &wire.Error{Op: wire.OpSubmit, Code: wire.CodeDeadline, Outcome: wire.Unknown, Detail: "not decided in time"}
			if leave() && i == 0 {
				late.Outcome = wire.NotDone
			}
			return nil, late
		}
	}
	return results, nil
}

// partly is err as that of all submissions: of the others nothing is known.
func partly(err error, submissions int) error {
	var w *wire.Error
	if submissions == 1 || !errors.As(err, &w) {
		return err
	}
	out := *w
	out.Outcome = wire.Unknown
	return &out
}

// run decides batch after batch.
func (a *admission) run(ctx context.Context) {
	for {
		batch := a.batch()
		if len(batch) == 0 {
			select {
			case <-a.news:
				continue
			case <-ctx.Done():
				return
			}
		}
		for range decideAttempts {
			if batch = a.round(ctx, batch); len(batch) == 0 {
				break
			}
		}
		for _, s := range batch {
			s.done <- admitted{err: wire.Errorf(wire.OpSubmit, wire.CodeConflict, "decided %d times, and each time something had changed meanwhile, at last: %s; try again", decideAttempts, s.stale)}
		}
	}
}

// round decides and proposes once, and returns what must be decided again.
func (a *admission) round(ctx context.Context, batch []*submission) (again []*submission) {
	if !a.n.log.IsLeader() {
		a.failAll(batch, wire.Errorf(wire.OpSubmit, wire.CodeUnavailable, "%s is not the leader", a.n.id))
		return nil
	}
	if err := a.n.confirmLead(ctx); err != nil {
		a.failAll(batch, err)
		return nil
	}
	view := a.n.log.View()
	drafts := a.n.draft(view, a.answerRepeated(view, batch))
	a.n.decide(ctx, view, drafts)
	var cmds []state.Command
	var asked []*submission
	for _, d := range drafts {
		if d.refusal != nil {
			d.sub.done <- admitted{res: refusal(d.sub, d.refusal)}
			continue
		}
		cmds, asked = append(cmds, d.admit), append(asked, d.sub)
	}
	if len(cmds) == 0 {
		return nil
	}
	results, index, err := a.n.log.Propose(ctx, cmds...)
	if err != nil {
		a.failAll(asked, err)
		return nil
	}
	a.n.audit.Admits(index, cmds, results)
	for i, res := range results {
		if res.Stale {
			asked[i].stale = res.Err.Detail
			again = append(again, asked[i])
			continue
		}
		a.n.misused.count(res)
		asked[i].done <- admitted{res: submitted(res)}
	}
	return again
}

// answerRepeated answers the requests that were carried out before, and returns the others. What a repeated request
// asks for may look impossible by now, as a delete does once the extent is forgotten.
func (a *admission) answerRepeated(view *state.View, batch []*submission) []*submission {
	all := allNamed(view)
	return slices.DeleteFunc(batch, func(s *submission) bool {
		s.named = all
		kind, _ := policies.ParseKind(s.Kind)
		res, ok := view.Answered(&state.Admit{
			Request: state.Request{Session: s.session, Seq: s.Seq, Sum: s.sum()}, Kind: kind,
			Extent: state.ExtentID(s.Extent), AskedBy: s.who(),
		})
		if ok {
			a.n.misused.count(res)
			s.done <- admitted{res: submitted(res)}
		}
		return ok
	})
}

func (a *admission) failAll(batch []*submission, err error) {
	for _, s := range batch {
		s.done <- admitted{err: err}
	}
}

func submitted(res state.Result) wire.Submitted {
	out := wire.Submitted{Extent: uint64(res.Extent), Merged: res.Merged}
	if res.Op != 0 {
		out.Op = res.Op.String()
	}
	if res.Kind != 0 {
		out.Kind = res.Kind.String()
	}
	if res.Err != nil {
		out.Code, out.Detail = res.Err.Code, res.Err.Detail
	}
	return out
}

func refusal(s *submission, err *wire.Error) wire.Submitted {
	return wire.Submitted{Kind: s.Kind, Code: err.Code, Detail: err.Detail}
}

// draft is a submission on its way to becoming an entry.
type draft struct {
	sub     *submission
	admit   *state.Admit
	refusal *wire.Error // why it goes no further; admit is nil then
	open    []state.OpID
}

// draft makes admits of submissions, refusing those that cannot be carried out now.
func (n *Node) draft(view *state.View, batch []*submission) []*draft {
	drafts := make([]*draft, len(batch))
	placed := &schedule.Placed{}
	all := allNamed(view)
	for i, s := range batch {
		s.named = all
		d := &draft{sub: s}
		var err error
		if d.admit, d.open, err = n.draftOne(view, s, placed); err != nil {
			if !errors.As(err, &d.refusal) {
				d.refusal = wire.Errorf(wire.OpSubmit, wire.CodeInternal, "%v", err)
			}
		}
		drafts[i] = d
	}
	return drafts
}

func (n *Node) draftOne(view *state.View, s *submission, placed *schedule.Placed) (*state.Admit, []state.OpID, error) {
	kind, ok := policies.ParseKind(s.Kind)
	if !ok {
		return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodeInvalid, "there is no operation %q", s.Kind)
	}
	if err := schedule.CheckUrgent(view, s.Urgent); err != nil {
		return nil, nil, err
	}
	admit := &state.Admit{
		Request: s.request(), Kind: kind, Origin: s.origin, Parent: s.parent,
		Extent: state.ExtentID(s.Extent), Node: state.NodeID(s.Node), Target: state.NodeID(s.Target),
		AskedBy: s.who(), Urgent: s.Urgent,
	}
	switch kind {
	case policies.KindCreate:
		admit.Extent = 0
		return admit, nil, n.draftCreate(view, s, admit, placed)
	case policies.KindDecommission, policies.KindRecommission:
		admit.Extent = 0
		return n.draftNodeOp(view, s, admit)
	}
	e := view.Extent(admit.Extent)
	if e == nil {
		return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "there is no extent %d", s.Extent)
	}
	if kind == policies.KindMove {
		if _, holds := e.Replica(admit.Node); !holds {
			return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodePrecondition, "node %q has no replica of extent %d to move away; name one of its nodes", s.Node, s.Extent)
		}
		if err := schedule.NameTarget(view, e, admit, s.force); err != nil {
			return nil, nil, err
		}
	} else {
		admit.Node = ""
	}
	admit.Gen = e.Gen
	return admit, e.Ops, nil
}

// draftCreate chooses the nodes of a new extent, unless the caller did: then those are all that it wants, if he does
// not say otherwise. placed counts what this batch has given to each node already, which the view cannot know.
func (n *Node) draftCreate(view *state.View, s *submission, admit *state.Admit, placed *schedule.Placed) error {
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
	if s.origin == policies.OriginCell && allNamed(view) {
		admit.Owner = state.Identity(s.Owner)
	}
	if err := view.CheckExtent(admit.Class, admit.Whose()); err != nil {
		n.quotas.CountRefusal()
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

func (n *Node) draftNodeOp(view *state.View, s *submission, admit *state.Admit) (*state.Admit, []state.OpID, error) {
	node := view.Node(admit.Node)
	if node == nil {
		return nil, nil, wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "there is no node %q; see node ls", s.Node)
	}
	if admit.Kind == policies.KindDecommission {
		if err := schedule.CheckEmptying(view, node); err != nil && !s.force {
			return nil, nil, err
		} else if err != nil {
			admit.Forced = true
		}
	}
	return admit, node.Ops, nil
}
