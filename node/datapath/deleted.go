package datapath

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// A range may be deleted while it is read. What is read of it then, from whichever node has applied that already, fails
// in any way, and says nothing about a replica.

// deleted is what to answer instead of err, of a read of this node's replica: nil if nothing of what is left to read is
// deleted. A node takes bytes from its disk only after it has applied that they are deleted.
func (r *rangeReader) deleted(err error) error {
	if err == nil {
		return nil
	}
	e := r.o.Log.View().Extent(r.e.ID)
	if e == nil {
		return nil
	}
	if gone := r.o.Log.View().CheckDeleted(wire.OpRead, e, r.offset, r.end-r.offset); gone != nil {
		return gone
	}
	return nil
}

// deletedThere is deleted of a read at another node, which may have applied more than this one. sure is false where
// nobody can tell how much that is: the other node may have read what is deleted, and its replica be as sound as
// before.
func (r *rangeReader) deletedThere(ctx context.Context, id state.NodeID, err error) (deleted error, sure bool) {
	if code := wire.CodeOf(err); id != r.o.ID && (code == wire.CodeNotFound || code == wire.CodeCorrupt) {
		sure = r.o.CatchUp(ctx) == nil
		return r.deleted(err), sure
	}
	return r.deleted(err), true
}
