package node

import (
	"context"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// planAtOnce bounds the submissions of one look, and so how much of a large plan is queued at a time.
	planAtOnce = 256
	// planAhead is how many moves of one decommission may be open. More would only grow the queue.
	planAhead = 512
)

// plan is the leader's other loop: it submits the operations that nobody asks for by name. Repairs
// of extents that lost replicas, seals of open extents whose replicas are not all there, the moves of
// a decommission. It looks at the state, not at what it did before, so a new leader goes on where
// the old one stopped.
func (n *Node) plan(ctx context.Context) {
	for {
		changed, elected := n.log.Changed(), n.log.LeaderChanged()
		if n.log.IsLeader() && n.ready.Load() && n.confirmLead(ctx) == nil {
			n.planRound(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-elected:
		case <-changed:
			// Entries come in bursts; one look covers many.
			select {
			case <-n.after(n.time.tick):
			case <-ctx.Done():
				return
			}
		case <-n.after(n.time.tick): // delays end without a change
		}
	}
}

func (n *Node) planRound(ctx context.Context) {
	n.keepVotes(ctx, atTime(n.log.View(), n.log.Now()))
	p := &planner{view: atTime(n.log.View(), n.log.Now()), patience: state.Micros((2 * n.time.downAfter).Microseconds())}
	p.repairs()
	p.view.Nodes(func(node *state.Node) bool {
		if node.State == state.NodeDown {
			p.sealOn(node)
		}
		if node.Mode == state.ModeDecommissioning {
			p.empty(node)
		}
		return true
	})
	if len(p.wanted) > 0 {
		limited, cancel := context.WithTimeout(ctx, n.time.stepLimit)
		results, err := n.admit.submit(limited, p.wanted)
		cancel()
		n.logPlan(p.wanted, results, err)
	}
	for _, node := range p.emptied {
		n.finishDecommission(ctx, p.view, node)
	}
	if err := n.recordMoves(ctx); err != nil {
		n.logger.Info("new addresses not recorded yet", "error", err)
	}
}

func (n *Node) logPlan(wanted []*submission, results []wire.Submitted, err error) {
	if err != nil {
		n.logger.Info("plan not admitted", "submissions", len(wanted), "error", err)
		return
	}
	for i, res := range results {
		if res.Code != 0 {
			n.logger.Info("planned operation refused", "kind", wanted[i].Kind, "extent", wanted[i].Extent, "why", res.Detail)
		}
	}
}

// planner collects what one look at the state finds wanting.
type planner struct {
	view *state.View
	// patience is how long an open extent may lack replicas although a node takes some: that node did not answer just
	// now, and will be called down if it goes on so. Sealed at once, the next would be made without it, too.
	patience state.Micros

	wanted  []*submission
	emptied []*state.Node // decommissioning nodes that hold nothing any more
}

func (p *planner) full() bool { return len(p.wanted) >= planAtOnce }

// urgent tells whether a decommission's moves wait for no quiet window, as it does not.
func (p *planner) urgent(decommission state.OpID) bool {
	o := p.view.Op(decommission)
	return o != nil && o.Urgent
}

// hurries tells whether an urgent decommission would wait for a move that is not. One more is merged into it, and makes
// it urgent.
func (p *planner) hurries(decommission state.OpID, e *state.Extent) bool {
	if !p.urgent(decommission) || p.open(e, policies.KindDelete) {
		return false
	}
	return !slices.ContainsFunc(e.Ops, func(id state.OpID) bool {
		o := p.view.Op(id)
		return o.Kind == policies.KindMove && (o.Urgent || o.State == state.OpRunning)
	})
}

func (p *planner) want(kind policies.Kind, e *state.Extent, origin policies.Origin, from state.NodeID, parent state.OpID) {
	p.wanted = append(p.wanted, &submission{
		Submission: wire.Submission{
			Kind: kind.String(), Extent: uint64(e.ID), Node: string(from), Urgent: p.urgent(parent),
		},
		origin: origin, parent: parent,
	})
}

// open tells whether an operation that would be in the way, or is the very one, is open on e.
func (p *planner) open(e *state.Extent, kinds ...policies.Kind) bool {
	for _, id := range e.Ops {
		for _, k := range kinds {
			if p.view.Op(id).Kind == k {
				return true
			}
		}
	}
	return false
}

// repairs finds sealed extents with too few whole replicas: known to be damaged, or on a node that
// has been down for longer than the repair delay. An open one that was made with too few is sealed as soon as a
// node could take another, and one with a suspect replica at once: only sealed ones are repaired, and its puts go on in
// one that lacks none.
func (p *planner) repairs() {
	visit := func(e *state.Extent) bool {
		if e.State == state.ExtentSealed && p.canRepair(e) && !p.open(e, policies.KindRepair, policies.KindMove, policies.KindDelete) {
			p.want(policies.KindRepair, e, policies.OriginCell, "", 0)
		}
		return !p.full()
	}
	p.view.Lacking(func(e *state.Extent) bool {
		waited := p.view.NowMicros-e.CreatedMicros > p.patience
		if e.State == state.ExtentOpen && (waited && p.hasTaker(e) || !e.Fit()) && !p.open(e, policies.KindSeal, policies.KindDelete) {
			p.want(policies.KindSeal, e, policies.OriginCell, "", 0)
		}
		return visit(e)
	})
	p.view.Nodes(func(node *state.Node) bool {
		down := node.State == state.NodeDown && p.view.NowMicros-node.SinceMicros > p.view.Settings.RepairDelayMicros
		if down && !p.full() {
			p.view.ReplicasOn(node.ID, visit)
		}
		return true
	})
}

// canRepair tells whether a repair could start: something to read, and somewhere to write. One that
// could not would only stand in the queue, in the way of moves and seals.
func (p *planner) canRepair(e *state.Extent) bool {
	live := p.view.Live(e)
	return live > 0 && live < int(e.Want) && !e.Damaged && p.hasTaker(e)
}

// hasTaker tells whether some node can be given a replica of e, or have its suspect one mended.
func (p *planner) hasTaker(e *state.Extent) bool {
	room := false
	p.view.Nodes(func(node *state.Node) bool {
		r, holds := e.Replica(node.ID)
		_, former := e.FormerSince(node.ID)
		room = node.Takes() && !former && (!holds || r.State == state.ReplicaSuspect)
		return !room
	})
	return room
}

// sealOn seals the open extents of a node that is down: they cannot be appended to any more, and
// only sealed ones are repaired.
func (p *planner) sealOn(node *state.Node) {
	p.view.ReplicasOn(node.ID, func(e *state.Extent) bool {
		if e.State == state.ExtentOpen && !p.open(e, policies.KindSeal, policies.KindDelete) {
			p.want(policies.KindSeal, e, policies.OriginCell, "", 0)
		}
		return !p.full()
	})
}

// empty moves the replicas of a decommissioning node away, open extents after they are sealed.
func (p *planner) empty(node *state.Node) {
	held, moving := 0, 0
	p.view.ReplicasOn(node.ID, func(e *state.Extent) bool {
		held++
		switch {
		case p.open(e, policies.KindMove, policies.KindDelete) && !p.hurries(node.Decommission, e):
			moving++
		case e.State == state.ExtentOpen && !p.open(e, policies.KindSeal):
			p.want(policies.KindSeal, e, policies.OriginDecommission, "", 0)
		case e.State == state.ExtentSealed && !e.Damaged:
			p.want(policies.KindMove, e, policies.OriginDecommission, node.ID, node.Decommission)
			moving++
		}
		return !p.full() && moving < planAhead
	})
	dropping := 0
	if node.State == state.NodeUp {
		p.view.DropsOn(node.ID, func(*state.Extent) bool { dropping++; return false })
	}
	if held == 0 && dropping == 0 && p.decommissionRuns(node) {
		p.emptied = append(p.emptied, node)
	}
}

func (p *planner) decommissionRuns(node *state.Node) bool {
	o := p.view.Op(node.Decommission)
	return o != nil && o.State == state.OpRunning
}

// finishDecommission takes the node's vote, gives one to another node so that the cell keeps as many
// as it had, and ends the operation.
func (n *Node) finishDecommission(ctx context.Context, view *state.View, node *state.Node) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	if err := n.moveVote(ctx, view, node); err != nil {
		n.logger.Warn("vote not moved yet", "from", string(node.ID), "error", err)
		return
	}
	if !n.log.IsLeader() {
		return // it was this node: the next leader goes on
	}
	o := view.Op(node.Decommission)
	finish := &state.Finish{Op: o.ID, Fence: o.Fence, Outcome: state.OutcomeDone}
	var err error
	if node.State == state.NodeDown {
		err = n.forget(ctx, &state.RemoveNode{Node: node.ID, Incarnation: node.Incarnation, Note: "down at the end of its decommission"}, finish)
	} else {
		err = n.proposeOne(ctx, finish)
	}
	if err != nil {
		n.logger.Info("decommission not ended yet", "node", string(node.ID), "error", err)
	}
}

// checkClass is asked before a class comes near the log: it ends up in every listing of extents, and in the facts of
// policies, where zeros pad it.
func checkClass(op wire.OpType, class string) error {
	switch {
	case len(class) > policies.ClassBytes:
		return wire.Errorf(op, wire.CodeInvalid, "class %q is longer than %d bytes", class, policies.ClassBytes)
	case !wire.Plain(class):
		return wire.Errorf(op, wire.CodeInvalid, "class %q: want a tag without control characters, such as gold", class)
	}
	return nil
}

// atTime is the view with the cell's time now in place of the last entry's: delays end although
// nothing happens.
func atTime(view *state.View, now state.Micros) *state.View {
	v := *view
	v.NowMicros = max(v.NowMicros, now)
	return &v
}
