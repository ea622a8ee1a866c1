package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// readPiece is how much is read, checked and sent at once.
const readPiece = 256 << 10

// applied waits until this node has applied the entry that the caller's step builds on. A node that follows the
// log from far behind, or not at all because the leader does not hear it, says so soon: the step is better done
// elsewhere.
func (n *Node) applied(ctx context.Context, c *mux.ServerCall) error {
	limited, cancel := context.WithTimeout(ctx, n.time.lagLimit)
	defer cancel()
	if err := n.log.WaitApplied(limited, state.Index(c.MinIndex())); err != nil {
		return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s has not applied entry %d yet, but %d", n.id, c.MinIndex(), n.log.AppliedIndex())
	}
	return nil
}

// serveReplicaCreate makes an empty file for the node that carries out the create.
func (n *Node) serveReplicaCreate(ctx context.Context, c *mux.ServerCall, req wire.ReplicaCreate) error {
	o, err := n.allow(ctx, c, step{op: req.Op, extent: req.Extent, kinds: []policies.Kind{policies.KindCreate}})
	if err != nil {
		return err
	}
	e, err := n.meant(c.Op(), req.Extent, req.Birth)
	if err != nil {
		return err
	}
	if err := n.store.Create(extent.ID(o.Extent), extent.Fence(o.Fence), extent.Birth(e.Birth())); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// serveReplicaAppend makes bytes of the primary durable here. Only the primary of an open extent,
// under the extent's epoch, may append; a seal has raised the store's fence above that epoch.
func (n *Node) serveReplicaAppend(ctx context.Context, c *mux.ServerCall, req wire.ReplicaAppend) error {
	if err := n.applied(ctx, c); err != nil {
		return err
	}
	e := n.log.View().Extent(state.ExtentID(req.Extent))
	if err := n.appendable(c, req, e); err != nil {
		return n.refuseStep(c, err)
	}
	if err := n.store.Append(extent.ID(req.Extent), extent.Fence(c.Fence()), req.Offset, c.Raw()); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// serveReplicaFence does this replica's part in a seal for the node that carries it out.
func (n *Node) serveReplicaFence(ctx context.Context, c *mux.ServerCall, req wire.ReplicaFence) error {
	o, err := n.allow(ctx, c, step{op: req.Op, extent: req.Extent, kinds: []policies.Kind{policies.KindSeal}})
	if err != nil {
		return err
	}
	reply, err := n.fenceReplica(req, o.Fence)
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}

// serveReplicaRead sends a range to the target of a copy.
func (n *Node) serveReplicaRead(ctx context.Context, c *mux.ServerCall, req wire.ReplicaRead) error {
	what := step{op: req.Op, extent: req.Extent, kinds: []policies.Kind{policies.KindRepair, policies.KindMove}}
	if _, err := n.allow(ctx, c, what); err != nil {
		return err
	}
	e, err := n.meant(c.Op(), req.Extent, req.Birth)
	if err != nil {
		return err
	}
	if err := n.sendCopy(ctx, c, e, req.Offset, req.Length); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// meant is the extent that a peer speaks of, if it is of the birth that the peer knows.
func (n *Node) meant(op wire.OpType, id uint64, birth uint32) (*state.Extent, error) {
	e := n.log.View().Extent(state.ExtentID(id))
	if e == nil {
		return nil, wire.Errorf(op, wire.CodeNotFound, "extent %d is deleted", id)
	}
	if err := checkBirth(op, e, birth); err != nil {
		return nil, err
	}
	return e, n.store.CheckBirth(extent.ID(id), extent.Birth(e.Birth()))
}

// sendCopy sends a range of this node's file as chunks, each checked before it leaves, and lets clients go first.
func (n *Node) sendCopy(ctx context.Context, c *mux.ServerCall, e *state.Extent, offset, length uint64) error {
	if err := c.Hold(int(min(length, readPiece))); err != nil {
		return err
	}
	return n.eachShared(ctx, n.disks.Copy(n.log.View(), e), uint64(e.ID), offset, length, c.Send)
}

// eachPiece reads a range of this node's file for a client.
func (n *Node) eachPiece(ctx context.Context, id, offset, length uint64, send func([]byte) error) error {
	return n.eachShared(ctx, diskshare.Copy{}, id, offset, length, send)
}

func (n *Node) eachShared(ctx context.Context, share diskshare.Copy, id, offset, length uint64,
	send func([]byte) error) error {
	buf := make([]byte, min(length, readPiece))
	for length > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, got := buf[:share.Piece(int(min(length, readPiece)))], 0
		err := share.Do(ctx, func() (err error) {
			got, err = n.store.ReadAt(extent.ID(id), p, offset)
			return err
		})
		if err != nil && (!errors.Is(err, io.EOF) || got < len(p)) {
			if err := sendSome(send, p[:got]); err != nil {
				return err
			}
			return n.localError(id, err)
		}
		if err := send(p); err != nil {
			return &sendError{err}
		}
		offset, length = offset+uint64(len(p)), length-uint64(len(p))
	}
	return nil
}

// sendSome sends what was good of a piece that could not be read to its end: another replica goes on behind it.
func sendSome(send func([]byte) error, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if err := send(p); err != nil {
		return &sendError{err}
	}
	return nil
}

// sendError is a failure to reach the caller, as opposed to one to read.
type sendError struct{ error }

func (e *sendError) Unwrap() error { return e.error }

// localError says which extent could not be read here.
func (n *Node) localError(id uint64, err error) error {
	return fmt.Errorf("read extent %d on %s: %w", id, n.id, err)
}

// storeCodes says what the store's errors are called on the wire.
var storeCodes = map[extent.Code]wire.Code{
	extent.CodeNotFound: wire.CodeNotFound, extent.CodeExists: wire.CodeConflict, extent.CodeStaleFence: wire.CodeStaleFence,
	extent.CodeWrongOffset: wire.CodeConflict, extent.CodeCorrupt: wire.CodeCorrupt, extent.CodeNoSpace: wire.CodeNoSpace,
	extent.CodeDiskFailed: wire.CodeDiskFailed, extent.CodeSealed: wire.CodePrecondition, extent.CodeTooShort: wire.CodeCorrupt,
	extent.CodeClosed: wire.CodeUnavailable, extent.CodeChanged: wire.CodeUnavailable, extent.CodeIO: wire.CodeInternal,
	extent.CodeBelowFloor: wire.CodePrecondition,
}

// typed makes any error of this node one that crosses the wire.
func (n *Node) typed(op wire.OpType, err error) *wire.Error {
	var w *wire.Error
	if errors.As(err, &w) {
		out := *w
		out.Op = op
		if out.Node == "" {
			out.Node = string(n.id)
		}
		return &out
	}
	out := wire.Errorf(op, wire.CodeInternal, "%v", err)
	out.Node = string(n.id)
	var s *extent.Error
	switch {
	case errors.As(err, &s):
		out.Code = storeCodes[s.Code]
	case errors.Is(err, context.DeadlineExceeded):
		out.Code, out.Outcome = wire.CodeDeadline, wire.Unknown
	case errors.Is(err, context.Canceled):
		out.Code, out.Outcome = wire.CodeCancelled, wire.Unknown
	}
	return out
}
