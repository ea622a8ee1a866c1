package schedule

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Balancing moves replicas from fuller disks to emptier ones, so that a node that is new, or was emptied, gets its
// share. It is never urgent: its moves begin only while nothing is repaired and no node is emptied, and those that are
// queued when that changes are taken back.

const (
	// balanceBegins and balanceEnds are how far apart two nodes are, in thousandths of their disks, when replicas begin
	// to be moved from one to the other, and down to which. Between them it neither begins nor goes back: what the cell
	// knows of a disk may be a thirty-second of it old.
	balanceBegins = 100
	balanceEnds   = 50
	// balanceAhead bounds the moves that are open at a time.
	balanceAhead = 16
	// balanceLooks bounds the replicas that are looked at for a plan.
	balanceLooks = 100_000
)

// BalanceMove is a replica that would be better elsewhere.
type BalanceMove struct {
	Extent   state.ExtentID
	From, To state.NodeID
	Bytes    uint64
}

// NodeUse is how much of a node's disks is used: now, with what moves on the way there and from there add and take, and
// after a plan. Free is the rest, less what the node keeps in reserve.
type NodeUse struct {
	Node               state.NodeID
	Total, Used, After uint64 // bytes
}

// thousandths are how full a node is after a plan.
func (u *NodeUse) thousandths() int { return int(u.After * 1000 / max(u.Total, 1)) }

// Balance is a plan that brings nodes nearer to each other.
type Balance struct {
	Nodes []NodeUse // that are up and not being emptied, by ID
	Moves []BalanceMove
	Waits string // why none begins now; the moves are what would be planned
	More  bool   // there may be more moves than were asked for
}

// BalanceOf plans at most so many moves, until nodes are no further apart than balanceEnds.
func BalanceOf(v *state.View, most int) Balance {
	b := &balancer{v: v, most: most, chosen: map[state.ExtentID]bool{}}
	b.plan.Waits = balanceYields(v)
	told := true
	v.Nodes(func(n *state.Node) bool {
		if n.State != state.NodeUp || n.Mode != state.ModeActive {
			return true
		}
		told = told && n.Total > 0
		if used := n.Total - min(n.Free, n.Total); n.Total > 0 {
			b.plan.Nodes = append(b.plan.Nodes, NodeUse{Node: n.ID, Total: n.Total, Used: used, After: used})
		}
		return true
	})
	if !told {
		b.plan.Waits = cmp.Or(b.plan.Waits, "some node has not said yet how full its disks are")
		return b.plan
	}
	b.onTheWay()
	for i := range b.plan.Nodes {
		b.plan.Nodes[i].Used = b.plan.Nodes[i].After
	}
	for b.step() {
	}
	if len(b.plan.Moves) == 0 {
		b.plan.Waits = cmp.Or(b.plan.Waits, b.refuses)
	}
	return b.plan
}

// Apart is by how many thousandths of their disks two of the nodes are apart at most, before the moves.
func (b *Balance) Apart() int {
	low, high := 1000, 0
	for _, n := range b.Nodes {
		now := NodeUse{Total: n.Total, After: n.Used}
		low, high = min(low, now.thousandths()), max(high, now.thousandths())
	}
	return max(high-low, 0)
}

// balancer makes a plan.
type balancer struct {
	v      *state.View
	most   int
	looked int
	chosen map[state.ExtentID]bool
	plan   Balance

	refuses string // which of the emptier nodes takes nothing now
}

func (b *balancer) use(id state.NodeID) *NodeUse {
	i := slices.IndexFunc(b.plan.Nodes, func(u NodeUse) bool { return u.Node == id })
	if i < 0 {
		return nil
	}
	return &b.plan.Nodes[i]
}

// onTheWay counts what open moves bring and take.
func (b *balancer) onTheWay() {
	count := func(o *state.Op) bool {
		e := b.v.Extent(o.Extent)
		if o.Kind != policies.KindMove || e == nil {
			return true
		}
		if to := b.use(o.Target); to != nil {
			to.After += e.Length
		}
		if from := b.use(o.Node); from != nil {
			from.After -= min(e.Length, from.After)
		}
		return true
	}
	b.v.Running(count)
	b.v.QueuedIn(moves, count)
}

func moves(l state.Line) bool { return l.Kind == policies.KindMove }

// step plans one more move, between the two nodes that are furthest apart and have one.
func (b *balancer) step() bool {
	if len(b.plan.Moves) >= b.most {
		b.plan.More = true
		return false
	}
	byUse := make([]*NodeUse, len(b.plan.Nodes))
	for i := range byUse {
		byUse[i] = &b.plan.Nodes[i]
	}
	slices.SortStableFunc(byUse, func(a, b *NodeUse) int { return a.thousandths() - b.thousandths() })
	for i := len(byUse) - 1; i > 0; i-- {
		if b.v.Node(byUse[i].Node).IsPaused() {
			continue // somebody works on it
		}
		for _, to := range byUse[:i] {
			if byUse[i].thousandths()-to.thousandths() <= balanceEnds {
				break
			}
			if b.between(byUse[i], to) {
				return true
			}
		}
	}
	return false
}

// between plans a move of a replica that leaves the node it comes from no emptier than the one it goes to.
func (b *balancer) between(from, to *NodeUse) (found bool) {
	target := b.v.Node(to.Node)
	if !target.Takes() {
		b.refuses = fmt.Sprintf("%s takes no replicas now: %s", to.Node, cmp.Or(target.Refuses, "it is paused"))
		return false
	}
	b.v.ReplicasOn(from.Node, func(e *state.Extent) bool {
		if b.looked++; b.looked > balanceLooks {
			b.plan.More = true
			return false
		}
		if b.chosen[e.ID] || !b.movable(e, from.Node) || Unfit(b.v, e, to.Node) != "" {
			return true
		}
		after := NodeUse{Total: to.Total, After: to.After + e.Length}
		left := NodeUse{Total: from.Total, After: from.After - min(e.Length, from.After)}
		if after.thousandths() > left.thousandths() {
			return true
		}
		b.chosen[e.ID] = true
		b.plan.Moves = append(b.plan.Moves, BalanceMove{Extent: e.ID, From: from.Node, To: to.Node, Bytes: e.Length})
		from.After, to.After = left.After, after.After
		found = true
		return false
	})
	return found
}

// movable reports whether an extent can spare the attention: all of its replicas are whole and up, and nothing is to be
// done to it.
func (b *balancer) movable(e *state.Extent, from state.NodeID) bool {
	r, _ := e.Replica(from)
	return e.State == state.ExtentSealed && !e.Damaged && e.Length > 0 && len(e.Ops) == 0 &&
		r.State == state.ReplicaWhole && b.v.Live(e) >= int(e.Want) && b.v.Live(e) > 1
}

// Balances reports whether an operation only balances.
func Balances(o *state.Op) bool {
	return o.Kind == policies.KindMove && o.Origin == policies.OriginCell && o.Parent == 0
}

// balanceYields says what balancing waits for, "" for nothing.
func balanceYields(v *state.View) string {
	for _, kind := range []policies.Kind{policies.KindRepair, policies.KindDecommission} {
		if n := v.KindLoad(kind); n.Queued+n.Running > 0 {
			return fmt.Sprintf("balancing waits for %d %ss", n.Queued+n.Running, kind)
		}
	}
	return ""
}

// balance wants moves where the settings say so. While some are open it goes on to the lower of the two bounds, and so
// it does where a person has asked for it.
func (s *search) balance() {
	when := s.view.Settings.Balance
	if when == state.BalanceOff || len(s.found.Wanted) > 0 || balanceYields(s.view) != "" {
		return
	}
	open := OpenBalancing(s.view)
	if open >= balanceAhead {
		return
	}
	plan := BalanceOf(s.view, balanceAhead-open)
	if when == state.BalanceOn && open == 0 && plan.Apart() < balanceBegins {
		return
	}
	for _, m := range plan.Moves {
		s.want(Need{Kind: policies.KindMove, Extent: m.Extent, From: m.From, To: m.To, Origin: policies.OriginCell})
	}
	s.found.Balanced = when == state.BalanceOnce && open == 0 && len(plan.Moves) == 0 && plan.Waits == ""
}

// OpenBalancing is how many operations are open that only balance.
func OpenBalancing(v *state.View) (open int) {
	count := func(o *state.Op) bool {
		if Balances(o) {
			open++
		}
		return true
	}
	v.Running(count)
	v.QueuedIn(moves, count)
	return open
}
