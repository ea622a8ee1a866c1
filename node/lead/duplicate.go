package lead

import (
	"context"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// A data folder and a copy of it, both started, are duplicates. Both are sure to be the same node, and what one of
// them acknowledges the other does not have. So a node that its log has at another address has no say there (see Away
// in raftlog), asks that address who is there, and is admitted by the leader once its other self is silent. If that
// goes on, one of the two is refused for good, by name. Which one is the copy nobody can tell; it is the one that
// came later.

// duplicateAfter is how long a node's other self may still be heard of when it joins: what it sent before it ended
// may be late.
const duplicateAfter = 2 * time.Second

// DuplicateError refuses a node for good whose other self runs.
func DuplicateError(id, there, here string) error {
	return wire.Errorf(wire.OpJoin, wire.CodePrecondition,
		"another process runs as %s at %s, so that this one, at %s, is not let in: one of the two data folders is a copy; "+
			"stop one of them for good, or start this one as a new node with its own --id and an empty --dir",
		id, there, here)
}

// checkCopy refuses a process that wants to be a node of which another one runs.
func (m *members) checkCopy(ctx context.Context, node *state.Node, req wire.JoinRequest) error {
	if node.Addr == req.Addr {
		// It has started again, as a rule. Where it can be dialed, nobody else answers.
		there, err := m.whoIsAt(ctx, req.Addr)
		if err == nil && there.Node == req.Node && there.Incarnation != 0 && there.Incarnation != req.Incarnation {
			return DuplicateError(req.Node, node.Addr, req.Addr)
		}
		return nil
	}
	switch {
	case m.watch.outlived(node.ID, req.Incarnation):
		return DuplicateError(req.Node, node.Addr, req.Addr)
	case m.watch.alive(node.ID):
		// Not for good: when it is the same node, restarted, its old address falls silent.
		return wire.Errorf(wire.OpJoin, wire.CodeUnavailable, "node %s was just heard of at %s; if that is another node, "+
			"give this one another --id", req.Node, node.Addr)
	}
	return nil
}
