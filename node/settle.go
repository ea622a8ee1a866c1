package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// settle compares the files on this node's disk with the state, once, before the node serves.
//
// A file that the log says must go is left to the executor, which removes and confirms it. One of
// which the state knows nothing goes to quarantine, and so does one that was born as another extent of
// its number: nothing is removed on suspicion. A replica that is missing or too short is reported as
// suspect, which makes a repair. Extents that this node was filling when it stopped are sealed: what it
// had not acknowledged may differ between replicas.
func (n *Node) settle(ctx context.Context, view *state.View) error {
	for _, id := range n.store.IDs() {
		why := n.unexplained(view, id)
		if why == "" {
			continue
		}
		n.logger.Warn("file that no state explains goes to quarantine", "extent", uint64(id), "why", why)
		if err := n.store.Quarantine(id, why); err != nil {
			return err
		}
	}
	n.forgetFences(view)
	return n.settleReplicas(ctx, view)
}

// fencesAtOnce bounds the fences that are forgotten together: they share a sync.
const fencesAtOnce = 64

// forgetFences forgets the fences of extents that the cell has forgotten; the file of fences would grow for ever.
//
// A fence keeps a late step of an older operation from an extent. Of these extents there is none any more: the number is
// never given to another, and a step for it is refused before the store is asked, because no operation on it runs.
// That is why view must be one that this node has applied: in it the extent was made, and is gone.
func (n *Node) forgetFences(view *state.View) {
	var forgotten []extent.ID
	for _, id := range n.store.Bare() {
		if state.ExtentID(id) < view.NextExtent && view.Extent(state.ExtentID(id)) == nil {
			forgotten = append(forgotten, id)
		}
	}
	for some := range slices.Chunk(forgotten, fencesAtOnce) {
		var wg sync.WaitGroup
		for _, id := range some {
			wg.Go(func() {
				if err := n.store.ForgetFence(id); err != nil { // it is found again, at the latest by the next start
					n.logger.Debug("fence not forgotten", "extent", uint64(id), "error", err)
				}
			})
		}
		wg.Wait()
	}
}

// unexplained says why the state does not account for a file that is here; empty when it does.
func (n *Node) unexplained(view *state.View, id extent.ID) string {
	e := view.Extent(state.ExtentID(id))
	if e == nil || !e.MayHoldFile(n.id) && !n.expectsCopy(view, e) {
		return "the operation log does not expect a replica of this extent on " + string(n.id)
	}
	if err := n.store.CheckBirth(id, extent.Birth(e.Birth())); err != nil {
		return "stored in another history of this cell: " + err.Error()
	}
	return ""
}

// expectsCopy tells whether an open copy has this node as its target: it may have put the file in
// place before its finish was in the log.
func (n *Node) expectsCopy(view *state.View, e *state.Extent) bool {
	for _, id := range e.Ops {
		if o := view.Op(id); o.Copies() && o.Target == n.id {
			return true
		}
	}
	return false
}

// settleReplicas tells the cell of every replica that is not here as it should be, before this node
// counts as up: until then nobody takes them for whole. What the cell knows already is not said again,
// so that this ends however often it is cut off.
func (n *Node) settleReplicas(ctx context.Context, view *state.View) error {
	var reports []state.Command
	var err error
	send := func() bool {
		_, err = n.proposeAnywhere(ctx, reports)
		reports = reports[:0]
		return err == nil
	}
	s := settling{n: n, proves: n.proves()}
	if node := view.Node(n.id); node != nil && node.Unproven {
		s.unproven = true
		n.logger.Warn("this folder is older than what the cell counts on: every replica in it is read and compared first", "replicas", view.CountReplicas(n.id))
	}
	view.ReplicasOn(n.id, func(e *state.Extent) bool {
		if err = ctx.Err(); err != nil {
			return false
		}
		if cmd := s.replica(e); cmd != nil {
			reports = append(reports, cmd)
		}
		return len(reports) < reportsAtOnce || send()
	})
	if err == nil && len(reports) > 0 {
		send()
	}
	return err
}

// settling compares this node's replicas with the state, one after the other.
type settling struct {
	n        *Node
	proves   bool // the cell can be told of damage in open extents, and of replicas that prove to be whole
	unproven bool // the folder is older than what the cell counts on
	done     int
	said     time.Time
}

// replica answers what the cell must be told of this node's replica, nil for nothing, and does what the state asks of it.
func (s *settling) replica(e *state.Extent) state.Command {
	s.progress()
	r, _ := e.Replica(s.n.id)
	info, why, from := s.n.flaw(e)
	switch e.State {
	case state.ExtentOpen:
		if why == "" && s.unproven {
			why = "the data folder is older than what the cell counts on"
		}
		if why != "" || e.Primary() == s.n.id {
			s.n.appends.ask(policies.KindSeal, e.ID) // nothing can be appended to it any more
		}
		if !s.proves {
			return nil
		}
	case state.ExtentSealed:
		if why == "" {
			var cmd state.Command
			if cmd, why = s.sealed(e, r, info); cmd != nil {
				return cmd
			}
		}
	default:
		return nil
	}
	if why == "" || r.State == state.ReplicaSuspect || e.Damaged && e.DamagedFrom <= from {
		return nil
	}
	s.n.logger.Warn("replica is damaged", "extent", uint64(e.ID), "why", why)
	return &state.Suspect{Extent: e.ID, Node: s.n.id, Note: wire.Clip(why, maxDetailBytes), Always: s.proves, From: from}
}

// sealed looks at the replica of a sealed extent whose file is sound: it may be shorter or longer than the extent, and
// it may be what a damaged extent waits for.
func (s *settling) sealed(e *state.Extent, r state.Replica, info extent.Info) (cmd state.Command, why string) {
	n, id := s.n, extent.ID(e.ID)
	missed := info.Floor > e.Length // the cell has sealed it without bytes that were acknowledged
	switch {
	case info.Length < e.Length:
		return nil, fmt.Sprintf("the file has %d bytes, the extent %d", info.Length, e.Length)
	case s.proves && (missed || e.Damaged && e.Whole() == 0) && info.Floor <= info.Length:
		return n.proof(e, info.Length, info.Floor)
	case info.Length > e.Length || info.Cut:
		if err := n.store.Seal(id, e.Length); err != nil {
			return nil, err.Error()
		}
	}
	if s.proves && e.Damaged && r.State == state.ReplicaSuspect {
		return n.proof(e, e.Length, 0)
	}
	if s.unproven && r.State == state.ReplicaWhole {
		return nil, n.compared(e)
	}
	return nil, ""
}

// proof reads this node's replica in full, up to length, for an extent that is damaged.
func (n *Node) proof(e *state.Extent, length, floor uint64) (cmd state.Command, why string) {
	sum, err := n.store.Sum(extent.ID(e.ID), length)
	if err != nil {
		return nil, err.Error()
	}
	if e.Whole() > 0 && length == e.Length && sum != e.Sum {
		return nil, fmt.Sprintf("its %d bytes have sum %s, not %s", length, wire.SumText(sum), wire.SumText(e.Sum))
	}
	n.logger.Warn("this replica is what a damaged extent lacks", "extent", uint64(e.ID), "bytes", length)
	return &state.Proven{Extent: e.ID, Node: n.id, Length: length, Sum: sum, Floor: floor}, ""
}

// flaw says what is wrong with this node's file of an extent, and from which byte on; why is empty if it is sound as
// far as it goes.
func (n *Node) flaw(e *state.Extent) (info extent.Info, why string, from uint64) {
	info, err := n.store.Stat(extent.ID(e.ID))
	switch {
	case err != nil:
		why = err.Error()
	case !info.Present:
		why = "the file is missing"
	case info.Broken != "":
		why = info.Broken
	case len(info.Damaged) > 0:
		why, from = fmt.Sprintf("damaged from byte %d on", info.Damaged[0].From), info.Damaged[0].From
	}
	return info, why, from
}

// settleSays is how often a node that compares all that it holds tells how far it is.
const settleSays = 10 * time.Second

func (s *settling) progress() {
	s.done++
	if now := s.n.now(); s.unproven && now.Sub(s.said) > settleSays {
		s.said = now
		s.n.logger.Warn("comparing replicas", "looked-at", s.done, "of", s.n.log.View().CountReplicas(s.n.id))
	}
}
