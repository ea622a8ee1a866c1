package lead

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// planner is the leader's other loop: it submits the operations that nobody asks for by name, gives votes, and ends
// decommissions. It looks at the state, not at what it did before, so a new leader goes on where the old one stopped.
type planner struct {
	env
	admit   *admission
	members *members
	ready   func() bool

	yielded time.Time // when it last tried to give the lead away
}

func (p *planner) run(ctx context.Context) {
	for {
		changed, elected := p.log.Changed(), p.log.LeaderChanged()
		if p.log.IsLeader() && p.ready() && p.confirm(ctx) == nil {
			p.round(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-elected:
		case <-changed:
			// Entries come in bursts; one look covers many.
			select {
			case <-p.clock.After(p.times.Tick):
			case <-ctx.Done():
				return
			}
		case <-p.clock.After(p.times.Tick): // delays end without a change
		}
	}
}

func (p *planner) round(ctx context.Context) {
	p.yieldLead(ctx, p.log.View())
	p.members.keepVotes(ctx, schedule.AtTime(p.log.View(), p.log.Now()))
	view := schedule.AtTime(p.log.View(), p.log.Now())
	needs := schedule.NeedsOf(view, 2*p.times.DownAfter)
	if len(needs.Wanted) > 0 {
		limited, cancel := context.WithTimeout(ctx, p.times.StepLimit)
		wanted := submissionsOf(needs.Wanted)
		results, err := p.admit.submit(limited, wanted)
		cancel()
		p.logPlan(wanted, results, err)
	}
	if over := view.GraceOver(); len(over) > 0 {
		if err := p.propose(ctx, &state.EndGrace{Extents: over}); err != nil {
			p.logger.Info("graces not ended yet", "extents", len(over), "error", err)
		}
	}
	for _, node := range needs.Emptied {
		p.finishDecommission(ctx, view, node)
	}
	if needs.Balanced {
		p.endBalance(ctx)
	}
	if err := p.recordMoves(ctx); err != nil {
		p.logger.Info("new addresses not recorded yet", "error", err)
	}
}

func submissionsOf(needs []schedule.Need) []*Submission {
	subs := make([]*Submission, len(needs))
	for i, need := range needs {
		subs[i] = &Submission{
			Submission: wire.Submission{
				Kind: need.Kind.String(), Extent: uint64(need.Extent), Node: string(need.From), Target: string(need.To),
				Urgent: need.Urgent,
			},
			Origin: need.Origin, parent: need.Parent,
		}
	}
	return subs
}

// endBalance takes back what was asked for once.
func (p *planner) endBalance(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.times.StepLimit)
	defer cancel()
	if err := p.propose(ctx, &state.Set{Key: state.KeyBalance, Value: state.BalanceOff.String()}); err != nil {
		p.logger.Info("end of the balancing not recorded yet", "error", err)
		return
	}
	p.logger.Info("disks are balanced")
}

func (p *planner) logPlan(wanted []*Submission, results []wire.Submitted, err error) {
	if err != nil {
		p.logger.Info("plan not admitted", "submissions", len(wanted), "error", err)
		return
	}
	for i, res := range results {
		if res.Code != 0 {
			p.logger.Info("planned operation refused", "kind", wanted[i].Kind, "extent", wanted[i].Extent, "why", res.Detail)
		}
	}
}

// finishDecommission takes the node's vote, gives one to another node so that the cell keeps as many
// as it had, and ends the operation.
func (p *planner) finishDecommission(ctx context.Context, view *state.View, node *state.Node) {
	ctx, cancel := context.WithTimeout(ctx, p.times.StepLimit)
	defer cancel()
	if err := p.members.moveVote(ctx, view, node); err != nil {
		p.logger.Warn("vote not moved yet", "from", string(node.ID), "error", err)
		return
	}
	if !p.log.IsLeader() {
		return // it was this node: the next leader goes on
	}
	o := view.Op(node.Decommission)
	finish := &state.Finish{Op: o.ID, Fence: o.Fence, Outcome: state.OutcomeDone}
	var err error
	if node.State == state.NodeDown {
		remove := &state.RemoveNode{
			Node: node.ID, Incarnation: node.Incarnation, Note: "down at the end of its decommission",
		}
		err = p.members.remove(ctx, remove, finish)
	} else {
		err = p.propose(ctx, finish)
	}
	if err != nil {
		p.logger.Info("decommission not ended yet", "node", string(node.ID), "error", err)
	}
}

// recordMoves writes into the log where the members are that have moved by hand, on the leader.
func (p *planner) recordMoves(ctx context.Context) error {
	before, now, err := p.log.Moved()
	if err != nil || len(now) == 0 {
		return err
	}
	if _, lowest := p.log.View().Lowest(); lowest >= state.LevelProven {
		rec := &state.Recovered{
			Members: membersOf(now), Before: membersOf(before),
			Micros: state.Micros(p.clock.Now().UnixMicro()), Note: "new addresses",
		}
		if err := p.propose(ctx, rec); err != nil {
			return err
		}
	}
	return p.log.RecordMoves(ctx)
}

func membersOf(servers []raftlog.ServerInfo) []state.Member {
	var out []state.Member
	for _, s := range servers {
		out = append(out, state.Member{Node: s.ID, Addr: s.Addr, Voter: s.Voter})
	}
	return out
}
