package datapath

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// FreshExtent is what the cell knows about an extent now. A node that follows the log from behind may not have heard of
// it yet: then it asks the leader how far the log goes, and waits for that.
func (dp *Path) FreshExtent(ctx context.Context, id state.ExtentID) (*state.Extent, error) {
	e := dp.o.Log.View().Extent(id)
	if e == nil || e.State == state.ExtentCreating || e.Kept() { // that may be taken back
		if err := dp.o.CatchUp(ctx); err != nil {
			return nil, err
		}
		e = dp.o.Log.View().Extent(id)
	}
	switch {
	case e == nil && id != 0 && id < dp.o.Log.View().NextExtent:
		return nil, wire.Errorf(wire.OpRead, wire.CodeNotFound, "extent %d was deleted", id)
	case e == nil:
		return nil, wire.Errorf(wire.OpRead, wire.CodeNotFound, "there is no extent %d", id)
	case e.State == state.ExtentDeleted:
		return nil, wire.Errorf(wire.OpRead, wire.CodeNotFound, "%s", e.DeletedText())
	}
	return e, nil
}
