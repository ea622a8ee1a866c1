package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Twins are a data folder and a copy of it, both started. Both are sure to be the same node, and what one of them
// acknowledges the other does not have. So a node that its log has at another address has no say there (see Away in
// raftlog), asks that address who is there, and is let in by the leader once its other self is silent. If that
// goes on, one of the two is refused for good, by name. Which one is the copy nobody can tell; it is the one that came later.

const (
	// twinAfter is how long a node's other self may still be heard of when it joins: what it sent before it ended
	// may be late.
	twinAfter = 2 * time.Second
)

// twinError refuses a node for good whose other self runs.
func twinError(id, there, here string) error {
	return wire.Errorf(wire.OpJoin, wire.CodePrecondition,
		"another process runs as %s at %s, so that this one, at %s, is not let in: one of the two data folders is a copy; stop one of them for good, or start this one as a new node with its own --id and an empty --dir",
		id, there, here)
}

// try is when a process first wanted to be let in as a node.
type try struct {
	incarnation uint64
	at          time.Time
}

// outlived tells whether the incarnation that the cell knows was heard of long after another one has first
// wanted to be let in.
func (w *watch) outlived(id state.NodeID, incarnation uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return false
	}
	if w.tries[id].incarnation != incarnation {
		w.tries[id] = try{incarnation: incarnation, at: w.n.now()}
	}
	s := w.seen[id]
	return s != nil && s.at.Sub(w.tries[id].at) > twinAfter
}

// checkCopy refuses a process that wants to be a node of which another one runs.
func (n *Node) checkCopy(ctx context.Context, node *state.Node, req wire.JoinRequest) error {
	if node.Addr == req.Addr {
		// It has started again, as a rule. Where it can be dialed, nobody else answers.
		there, err := n.whoIsAt(ctx, req.Addr)
		if err == nil && there.Node == req.Node && there.Incarnation != 0 && there.Incarnation != req.Incarnation {
			return twinError(req.Node, node.Addr, req.Addr)
		}
		return nil
	}
	switch {
	case n.watch.outlived(node.ID, req.Incarnation):
		return twinError(req.Node, node.Addr, req.Addr)
	case n.watch.alive(node.ID):
		// Not for good: when it is the same node, restarted, its old address falls silent.
		return wire.Errorf(wire.OpJoin, wire.CodeUnavailable, "node %s was just heard of at %s; if that is another node, give this one another --id", req.Node, node.Addr)
	}
	return nil
}

// whoIsAt is transport.WhoIsAt, but for this node's own address.
func (n *Node) whoIsAt(ctx context.Context, addr string) (wire.Hello, error) {
	if addr == n.addr {
		return wire.Hello{Cell: n.cell(), Node: n.cfg.ID, Incarnation: n.incarnation}, nil
	}
	return n.transport.WhoIsAt(ctx, addr)
}

// lookForOriginal asks the address at which the log has this node, if that is not here, who is there. If nobody is, and
// nobody could elect a leader that lets this node in, it takes its place without.
func (n *Node) lookForOriginal(ctx context.Context) error {
	addr, needed := n.log.Away()
	if addr == "" {
		return nil
	}
	there, err := n.whoIsAt(ctx, addr)
	switch {
	case err == nil && there.Node == n.cfg.ID && there.Incarnation != n.incarnation:
		return &refusedError{twinError(n.cfg.ID, addr, n.addr)}
	case err != nil && needed:
		return err
	case needed:
		n.logger.Warn("this node has moved: nobody is where its log has it", "was", addr, "is", n.addr)
		n.log.StayHere()
	}
	return nil
}
