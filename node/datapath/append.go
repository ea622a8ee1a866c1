package datapath

import (
	"context"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// append makes p durable on all replicas of an extent, or breaks its appender. Every byte that a client stores goes
// through here.
//
// Goal. What is acknowledged survives the loss of all replicas but one, and any replica can be read without asking
// another; a put costs one round trip to the slowest replica and one sync there, and nothing of the log.
//
// Invariants.
//   - Every byte below ap.offset is durable on all replicas. No byte behind it was acknowledged.
//   - Appends to an extent follow each other: the caller has the turn, and each replica refuses an offset that is not
//     its length. So a replica holds a beginning of what was appended, without a gap.
//   - After a failure nobody knows what the replicas hold behind ap.offset, and only a seal finds out: nothing is
//     appended any more. The seal raises the fence of each replica above the epoch that is sent here before it asks
//     how long the replica is; a primary that was cut off then acknowledges nothing more.
//
// Order of steps.
//  1. What this node has applied says that the extent takes appends, and is on as many disks as the cell wants now.
//  2. Space on this node's disk is taken. Up to here a refusal leaves the extent as sound as it was.
//  3. The caller's context is left behind: an append that was cut short when its caller goes away would break the
//     extent for everybody else.
//  4. All replicas append at once, this node's among them, and all are waited for.
//  5. offset goes up, and what was reserved becomes what is stored, before the turn is given back.
//  6. The store learns that this is acknowledged. With the next append, each replica's file says so as well: that is
//     the floor below which no seal cuts.
//
// Rejected. To answer when two of three replicas have it would hide a slow disk, but a seal would then have to ask a
// majority before anybody may read, and a read of one replica might miss what was acknowledged. To hand the bytes from
// replica to replica saves the primary's line, and adds up the times of their disks. To have several appends to one
// extent on their way at once loses all that are behind one that fails; puts are spread over OpenPerTenant extents
// instead.
//
// by is what the bytes were reserved by, nil if they only move.
func (a *appenders) append(
	ctx context.Context, ap *appender, by *quota.Reservation, p []byte,
) (offset uint64, err error) {
	if ap.broken == nil {
		ap.broken = a.checkTakes(ap)
	}
	if ap.broken != nil {
		return 0, ap.broken
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.o.StepLimit)
	defer cancel()
	if err := a.o.Space.Take(wire.OpAppend, len(p)); err != nil {
		return 0, err
	}
	for node, err := range a.appendAll(ctx, ap, p) {
		if err != nil {
			ap.broken = wire.Errorf(wire.OpAppend, wire.CodeUnavailable,
				"append to extent %d on %s: %v", ap.extent.ID, node, err)
			return 0, ap.broken
		}
	}
	ap.idle = 0
	a.o.Share.Client()
	offset = ap.offset
	ap.offset += uint64(len(p))
	by.Stored(ap.meter, ap.offset, len(p))
	a.o.Store.Acknowledge(extent.ID(ap.extent.ID), ap.offset)
	return offset, nil
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

// appendAll appends p behind ap.offset on every replica at once, and says what came of it. When this node's disk hangs
// it does not wait for that.
func (a *appenders) appendAll(ctx context.Context, ap *appender, p []byte) map[state.NodeID]error {
	id, birth, epoch, at := ap.extent.ID, ap.extent.Birth(), ap.extent.Epoch, ap.offset
	return a.o.Each(ap.extent, func(node state.NodeID) error {
		if node == a.o.ID {
			return a.o.Store.Append(extent.ID(id), extent.Fence(epoch), at, p)
		}
		_, err := a.o.Reach.Step(ctx, node, mux.Request{
			Op: wire.OpReplicaAppend, Session: wire.SessionAppend, Fence: uint64(epoch), MinIndex: uint64(epoch),
			Body: &wire.ReplicaAppend{Extent: uint64(id), Offset: at, Birth: birth}, Raw: p,
		})
		return err
	})
}
