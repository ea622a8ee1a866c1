package datapath

import (
	"context"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// append makes a batch durable on all replicas of an extent, or breaks its appender. Every byte that a client stores
// goes through here, but for those of large puts, see large.
//
// Goal. What is acknowledged survives the loss of all replicas but one, and any replica can be read without asking
// another; a put costs one round trip to the slowest replica and one sync there, which it shares with all puts of its
// batch, and nothing of the log.
//
// Invariants.
//   - Every byte below ap.offset is durable on all replicas. No byte behind it was acknowledged.
//   - Appends to an extent follow each other: the caller has the turn, and each replica refuses an offset that is not
//     its length. So a replica holds a beginning of what was appended, without a gap.
//   - A batch is one append: all of its puts are acknowledged or none is; the floor of all its records is ap.offset.
//   - The bytes of a batch are its own, or nobody's to change: they stay until the last replica has returned, which a
//     disk that hangs may do long after this has.
//   - After a failure nobody knows what the replicas hold behind ap.offset, and only a seal finds out: nothing is
//     appended any more. The seal raises the fence of each replica above the epoch that is sent here before it asks
//     how long the replica is; a primary that was cut off then acknowledges nothing more.
//
// Order of steps.
//  1. What this node has applied says that the extent takes appends, and is on as many disks as the cell wants now.
//  2. Space on this node's disk is taken. Up to here a refusal leaves the extent as sound as it was.
//  3. The callers' contexts are left behind: an append that was cut short when a caller goes away would break the
//     extent for everybody else.
//  4. All replicas append at once, this node's among them, and all are waited for.
//  5. offset goes up, and what each put reserved becomes what is stored, before the turn is given back.
//  6. The store learns that this is acknowledged. With the next append, each replica's file says so as well: that is
//     the floor below which no seal cuts.
//
// Rejected. To answer when two of three replicas have it would hide a slow disk, but a seal would then have to ask a
// majority before anybody may read, and a read of one replica might miss what was acknowledged. To hand the bytes from
// replica to replica saves the primary's line, and adds up the times of their disks. To have several appends to one
// extent on their way at once loses all that are behind one that fails; what does not fit one batch goes to another
// extent instead, see lane.
func (a *appenders) append(ctx context.Context, ap *appender, b *batch) (offset uint64, err error) {
	if ap.broken == nil {
		ap.broken = a.checkTakes(ap)
	}
	if ap.broken != nil {
		return 0, ap.broken
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.o.StepLimit)
	defer cancel()
	if err := a.o.Space.Take(wire.OpAppend, len(b.raw)); err != nil {
		return 0, err
	}
	for node, err := range a.appendAll(ctx, ap, b) {
		if err != nil {
			ap.broken = wire.Errorf(wire.OpAppend, wire.CodeUnavailable,
				"append to extent %d on %s: %v", ap.extent.ID, node, err)
			return 0, ap.broken
		}
	}
	ap.idle = 0
	a.o.Share.Client()
	offset = ap.offset
	for _, w := range b.puts {
		ap.offset += uint64(w.length)
		w.by.Stored(ap.meter, ap.offset, w.length)
	}
	a.o.Store.Acknowledge(extent.ID(ap.extent.ID), ap.offset)
	return offset, nil
}

// appendPiece appends p, which is not copied. by is what the bytes were reserved by, nil if they only move.
func (a *appenders) appendPiece(
	ctx context.Context, ap *appender, by *quota.Reservation, p []byte,
) (offset uint64, err error) {
	b := single(&waiting{by: by, length: len(p)}, p)
	defer b.drop()
	return a.append(ctx, ap, b)
}

// checkTakes says why an extent takes no appends any more, by what this node has applied.
func (a *appenders) checkTakes(ap *appender) error {
	view := a.o.Log.View()
	if e := view.Extent(ap.extent.ID); e == nil || !e.Fit() {
		return wire.Errorf(wire.OpAppend, wire.CodePrecondition,
			"extent %d is no longer open, or one of its replicas is damaged", ap.extent.ID)
	}
	if on, least := len(ap.extent.Replicas), view.Settings.Least(ap.extent.Want); on < least { // the setting was raised
		return wire.Errorf(wire.OpAppend, wire.CodePrecondition,
			"extent %d is on %d disks, and puts must be on %d (min-replicas): it is being sealed; append to another",
			ap.extent.ID, on, least)
	}
	return nil
}

// appendAll appends a batch behind ap.offset on every replica at once, and says what came of it. When this node's disk
// hangs it does not wait for that.
func (a *appenders) appendAll(ctx context.Context, ap *appender, b *batch) map[state.NodeID]error {
	id, epoch, at := ap.extent.ID, ap.extent.Epoch, ap.offset
	body := wire.ReplicaAppend{Extent: uint64(id), Offset: at, Birth: ap.extent.Birth(), Parts: b.lengths()}
	b.keep(len(ap.extent.Replicas))
	return a.o.Each(ap.extent, func(node state.NodeID) error {
		defer b.drop()
		if node == a.o.ID {
			return a.o.Store.Append(extent.ID(id), extent.Fence(epoch), at, b.parts()...)
		}
		_, err := a.o.Reach.Step(ctx, node, mux.Request{
			Op: wire.OpReplicaAppend, Session: wire.SessionAppend, Fence: uint64(epoch), MinIndex: uint64(epoch),
			Body: &body, Raw: b.raw,
		})
		return err
	})
}
