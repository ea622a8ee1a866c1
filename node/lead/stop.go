package lead

import (
	"context"
	"slices"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Stopping says what the cell would be without nodes. Its error is that this node does not lead, or that there is no
// such node.
func (l *Leader) Stopping(ctx context.Context, req wire.StopRequest) (wire.StopReply, error) {
	if len(req.Nodes) == 0 || len(req.Nodes) > wire.MaxStopNodes {
		return wire.StopReply{}, wire.Errorf(wire.OpStop, wire.CodeInvalid,
			"%d nodes are named; want 1 to %d", len(req.Nodes), wire.MaxStopNodes)
	}
	if err := l.confirm(ctx); err != nil {
		return wire.StopReply{}, err
	}
	if err := l.log.VerifyLeader(ctx); err != nil { // what it has not heard of may have happened already
		return wire.StopReply{}, err
	}
	// A leader that has only begun, and one of which a node has just died, would go by what the state still says.
	since := l.clock.Now()
	if req.From == 0 {
		l.watch.hearWithin(ctx, 0, l.watch.silence())
	} else { // the page before has waited
		since = since.Add(-l.watch.silence())
	}
	view := l.log.View()
	ids := nodeIDs(req.Nodes)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	names := make([]string, len(ids))
	for i, id := range ids {
		if view.Node(id) == nil {
			return wire.StopReply{}, wire.Errorf(wire.OpStop, wire.CodeNotFound, "there is no node %q; see node ls", id)
		}
		names[i] = string(id)
	}
	seen := l.moment().Seen
	seen.Silent = func(id state.NodeID) bool { return !l.watch.readySince(id, since) }
	stop := schedule.Stopping(view, seen, ids, state.ExtentID(req.From), req.Limit)
	return describe.Stop(stop, names), nil
}
