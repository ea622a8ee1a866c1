package replica

import (
	"context"
	"fmt"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Reconcile compares the files on this node's disk with the state, once, before the node serves.
//
// A file that the log says must go is left to the executor, which removes and confirms it. One of
// which the state knows nothing goes to quarantine, and so does one that was born as another extent of
// its number: nothing is removed on suspicion. A replica that is missing or too short is reported as
// suspect, which makes a repair. Extents that this node was filling when it stopped are sealed: what it
// had not acknowledged may differ between replicas.
func (rs *Replicas) Reconcile(ctx context.Context, view *state.View) error {
	for _, id := range rs.store.IDs() {
		why := rs.unexplained(view, id)
		if why == "" {
			continue
		}
		rs.logger.Warn("file that no state explains goes to quarantine", "extent", uint64(id), "why", why)
		if err := rs.store.Quarantine(id, why); err != nil {
			return err
		}
	}
	rs.ForgetFences(view)
	return rs.reconcileReplicas(ctx, view)
}

// ReportLost reports the replicas on disks that were given up, as Reconcile does, and answers how many it had to
// report. The last whole replica of an extent is not reported: it is all that there is to read, for as long as that
// disk answers or should it come back.
func (rs *Replicas) ReportLost(ctx context.Context, view *state.View) (reported int, err error) {
	return rs.compare(ctx, view, rs.lost)
}

func (rs *Replicas) lost(e *state.Extent) bool {
	return rs.opt.Lost != nil && rs.opt.Lost(extent.ID(e.ID))
}

// unexplained is why the state does not account for a file that is here; empty when it does.
func (rs *Replicas) unexplained(view *state.View, id extent.ID) string {
	e := view.Extent(state.ExtentID(id))
	if e == nil || !e.MayHoldFile(rs.id) && !rs.expectsCopy(view, e) {
		return "the operation log does not expect a replica of this extent on " + string(rs.id)
	}
	if rs.asHinted(e) {
		return ""
	}
	if err := rs.store.CheckBirth(id, extent.Birth(e.Birth())); err != nil {
		return "stored in another history of this cell: " + err.Error()
	}
	return ""
}

// asHinted reports whether the store's catalogue says of a sealed extent what the log says. Then its file is not looked
// into before it is used: a million of them would take minutes. That the file is another after all is found by
// the first read or scrub of it, which then reports the replica as any that is not what it should be.
func (rs *Replicas) asHinted(e *state.Extent) bool {
	h, ok := rs.store.Hint(extent.ID(e.ID))
	return ok && e.Final() && h.Length == e.Length && uint32(h.Birth) == e.Birth()
}

// expectsCopy reports whether an open copy has this node as its target: it may have put the file in
// place before its finish was in the log.
func (rs *Replicas) expectsCopy(view *state.View, e *state.Extent) bool {
	for _, id := range e.Ops {
		if o := view.Op(id); o.Copies() && o.Target == rs.id {
			return true
		}
	}
	return false
}

// reconcileReplicas reports every replica that is not here as it should be, before this node counts as up: until then
// nobody takes them for whole. What the cell knows already is not reported again, so that this ends however often it is
// cut off.
func (rs *Replicas) reconcileReplicas(ctx context.Context, view *state.View) error {
	_, err := rs.compare(ctx, view, func(*state.Extent) bool { return true })
	return err
}

// compare reports which of this node's replicas are not here as they should be, and answers how many.
func (rs *Replicas) compare(
	ctx context.Context, view *state.View, which func(*state.Extent) bool,
) (reported int, err error) {
	var reports []state.Command
	send := func() bool {
		reported += len(reports)
		_, err = rs.opt.Propose(ctx, reports)
		reports = reports[:0]
		return err == nil
	}
	c := comparison{rs: rs, proves: rs.proves()}
	if node := view.Node(rs.id); node != nil && node.Unproven {
		c.unproven = true
		rs.logger.Warn("this folder is older than what the cell counts on: every replica in it is read and compared first",
			"replicas", view.CountReplicas(rs.id))
	}
	view.ReplicasOn(rs.id, func(e *state.Extent) bool {
		if err = ctx.Err(); err != nil {
			return false
		}
		if !which(e) {
			return true
		}
		if cmd := c.replica(e); cmd != nil {
			reports = append(reports, cmd)
		}
		return len(reports) < report.AtOnce || send()
	})
	if err == nil && len(reports) > 0 {
		send()
	}
	return reported, err
}

// comparison compares this node's replicas with the state, one after the other.
type comparison struct {
	rs       *Replicas
	proves   bool // the log takes reports of damage in open extents, and of replicas that prove to be whole
	unproven bool // the folder is older than what the cell counts on
	done     int
	logged   time.Time // when progress was logged last
}

// replica is what has to be reported of this node's replica of an extent, nil for nothing. It does what the state asks
// of the file.
func (c *comparison) replica(e *state.Extent) state.Command {
	c.progress()
	r, _ := e.Replica(c.rs.id)
	if r.State == state.ReplicaWhole && !c.unproven && !e.Damaged && c.rs.asHinted(e) {
		return nil
	}
	info, why, from := c.rs.flaw(e)
	switch {
	case e.State == state.ExtentOpen:
		if why == "" && c.unproven {
			why = "the data folder is older than what the cell counts on"
		}
		if why != "" || e.Primary() == c.rs.id {
			c.rs.opt.AskSeal(e.ID) // nothing can be appended to it any more
		}
		if !c.proves {
			return nil
		}
	case e.Final():
		if why == "" {
			var cmd state.Command
			if cmd, why = c.sealed(e, r, info); cmd != nil {
				return cmd
			}
		}
	default:
		return nil
	}
	if why == "" || r.State == state.ReplicaSuspect || e.Damaged && e.DamagedFrom <= from {
		return nil
	}
	// On a disk that was given up it is not known to be damaged: the last one stays what can be read.
	lost := c.rs.lost(e)
	if lost && e.Final() && e.Whole() == 1 {
		return nil
	}
	said := "replica is damaged"
	if lost {
		said = "replica is lost with its disk"
	}
	c.rs.logger.Warn(said, "extent", uint64(e.ID), "why", why)
	return &state.Suspect{
		Extent: e.ID, Node: c.rs.id, Note: wire.Clip(why, report.MaxDetailBytes), From: from,
		Always: c.proves && (!lost || e.State == state.ExtentOpen),
	}
}

// sealed looks at the replica of a sealed extent whose file is sound: it may be shorter or longer than the extent, and
// it may be what a damaged extent waits for.
func (c *comparison) sealed(e *state.Extent, r state.Replica, info extent.Info) (cmd state.Command, why string) {
	rs, id := c.rs, extent.ID(e.ID)
	missed := info.Floor > e.Length // the cell has sealed it without bytes that were acknowledged
	switch {
	case info.Length < e.Length:
		return nil, fmt.Sprintf("the file has %d bytes, the extent %d", info.Length, e.Length)
	case c.proves && (missed || e.Damaged && e.Whole() == 0) && info.Floor <= info.Length:
		return rs.proof(e, info.Length, info.Floor)
	case info.Length > e.Length || info.Cut:
		if err := rs.store.Seal(id, e.Length); err != nil {
			return nil, err.Error()
		}
	}
	if c.proves && e.Damaged && r.State == state.ReplicaSuspect {
		return rs.proof(e, e.Length, 0)
	}
	if c.unproven && r.State == state.ReplicaWhole {
		return nil, rs.compared(e)
	}
	return nil, ""
}

// proof reads this node's replica in full, up to length, for an extent that is damaged.
func (rs *Replicas) proof(e *state.Extent, length, floor uint64) (cmd state.Command, why string) {
	sum, err := rs.store.Sum(extent.ID(e.ID), length)
	if err != nil {
		return nil, err.Error()
	}
	if e.Whole() > 0 && length == e.Length && sum != e.Sum {
		return nil, fmt.Sprintf("its %d bytes have sum %s, not %s", length, wire.SumText(sum), wire.SumText(e.Sum))
	}
	rs.logger.Warn("this replica is what a damaged extent lacks", "extent", uint64(e.ID), "bytes", length)
	return &state.Proven{Extent: e.ID, Node: rs.id, Length: length, Sum: sum, Floor: floor}, ""
}

// flaw is what is wrong with this node's file of an extent, and from which byte on; why is empty if it is sound as
// far as it goes.
func (rs *Replicas) flaw(e *state.Extent) (info extent.Info, why string, from uint64) {
	info, err := rs.store.Stat(extent.ID(e.ID))
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

// progressEvery is how often a node that compares all that it holds logs how far it is.
const progressEvery = 10 * time.Second

func (c *comparison) progress() {
	c.done++
	if now := c.rs.clock.Now(); c.unproven && now.Sub(c.logged) > progressEvery {
		c.logged = now
		c.rs.logger.Warn("comparing replicas", "looked-at", c.done, "of", c.rs.log.View().CountReplicas(c.rs.id))
	}
}

// compared reads this node's replica of a sealed extent in full and answers how it differs from the log.
func (rs *Replicas) compared(e *state.Extent) (why string) {
	sum, err := rs.store.Sum(extent.ID(e.ID), e.Length)
	switch {
	case err != nil:
		return err.Error()
	case sum != e.Sum:
		return fmt.Sprintf("its %d bytes have sum %s, not %s", e.Length, wire.SumText(sum), wire.SumText(e.Sum))
	}
	return ""
}
