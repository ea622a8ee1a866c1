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
	reply := n.scrub.describe()
	if req.Extent != 0 {
		e, err := n.freshExtent(ctx, state.ExtentID(req.Extent))
		if err != nil {
			return err
		}
		if _, holds := e.Replica(n.id); !holds {
			return wire.Errorf(c.Op(), wire.CodeNotFound, "%s has no replica of extent %d", n.id, e.ID)
		}
		reply.Extent, reply.Verified = req.Extent, unixMicros(n.scrub.verifiedAt(e.ID))
	}
	return c.Reply(&reply, nil)
}

func (s *scrubber) describe() wire.ScrubReply {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.ScrubReply{
		Node: string(s.n.id), Pace: s.n.log.View().Settings.ScrubRate(), Began: unixMicros(unixTime(s.record.began)),
		Done: s.done, Of: s.of, Full: unixMicros(unixTime(s.record.full)), Log: unixMicros(unixTime(s.record.log)),
		Bytes: s.bytes.Load(), Damage: s.damage.Load(),
	}
}

func unixMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
