package api

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeLogSnapshots lists the snapshots of a node's log, each of which is read in full, and takes one before if that is
// asked for.
func (a *API) ServeLogSnapshots(ctx context.Context, c *mux.ServerCall, req wire.LogSnapshotsRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	done, err := a.turn(ctx, c, fair.WorkLog)
	if err != nil {
		return err
	}
	defer done()
	all, err := a.o.Log.Snapshots()
	if err == nil && req.Take && !covered(all, a.o.Log.AppliedIndex()) {
		if err := a.o.Log.Snapshot(ctx); err != nil {
			return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s cannot take a snapshot now: %v", a.o.Node, err)
		}
		all, err = a.o.Log.Snapshots()
	}
	if err != nil {
		return err
	}
	reply := wire.LogSnapshotsReply{Node: string(a.o.Node)}
	for _, s := range all {
		reply.Snapshots = append(reply.Snapshots, describe.Snapshot(s))
	}
	return c.Reply(&reply, nil)
}

// covered reports whether a sound snapshot has all that is applied: the engine would take the same once more, and the
// oldest would go for it.
func covered(all []raftlog.StoredSnapshot, applied state.Index) bool {
	return slices.ContainsFunc(all, func(s raftlog.StoredSnapshot) bool {
		return s.Err == nil && !s.Aside && s.Index >= applied
	})
}

// ServeLogSnapshot sends a piece of a snapshot as it is on the disk. Whether the whole is sound, its checksum says.
func (a *API) ServeLogSnapshot(ctx context.Context, c *mux.ServerCall, req wire.LogSnapshotRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	work := fair.WorkLists
	if req.ID == "" {
		work = fair.WorkLog // which is the newest sound one is known once all are read
	}
	done, err := a.turn(ctx, c, work)
	if err != nil {
		return err
	}
	defer done()
	if req.ID == "" {
		if req.ID, err = a.newestSnapshot(c.Op()); err != nil {
			return err
		}
	}
	reply := wire.LogSnapshotReply{Node: string(a.o.Node), ID: req.ID, Offset: req.Offset}
	f, err := a.o.Log.OpenSnapshot(req.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return wire.Errorf(c.Op(), wire.CodeNotFound, "%s has no snapshot %s, or no longer: a newer one takes its place; "+
			"see log snapshot ls", a.o.Node, req.ID)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	reply.Size = uint64(info.Size())
	if req.Offset > reply.Size {
		return wire.Errorf(c.Op(), wire.CodeInvalid, "snapshot %s of %s has %d bytes, none at %d", req.ID, a.o.Node,
			reply.Size, req.Offset)
	}
	reply.Data = make([]byte, min(wire.MaxSnapshotPiece, reply.Size-req.Offset))
	n, err := f.ReadAt(reply.Data, int64(req.Offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	reply.Data = reply.Data[:n]
	return c.Reply(&reply, nil)
}

// newestSnapshot is the ID of the newest snapshot that is sound.
func (a *API) newestSnapshot(op wire.OpType) (string, error) {
	all, err := a.o.Log.Snapshots()
	if err != nil {
		return "", err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if s := describe.Snapshot(all[i]); s.OK {
			return s.ID, nil
		}
	}
	return "", wire.Errorf(op, wire.CodeNotFound, "%s has no snapshot that is sound; log snapshot take has it take one",
		a.o.Node)
}
