package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// serveScrub tells how far a node's scrub is.
func (n *Node) serveScrub(ctx context.Context, c *mux.ServerCall, req wire.ScrubRequest) error {
	if relayed, err := n.atNode(ctx, c, req.Node); relayed {
		return err
	}
	reply := n.scrub.Describe()
	if req.Extent != 0 {
		e, err := n.data.FreshExtent(ctx, state.ExtentID(req.Extent))
		if err != nil {
			return err
		}
		if _, holds := e.Replica(n.id); !holds {
			return wire.Errorf(c.Op(), wire.CodeNotFound, "%s has no replica of extent %d", n.id, e.ID)
		}
		reply.Extent, reply.Verified = req.Extent, unixMicros(n.scrub.VerifiedAt(e.ID))
	}
	return c.Reply(&reply, nil)
}

func unixMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
