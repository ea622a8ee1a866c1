package lead

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// members says who belongs to the cell and its log's group, and who has a vote there. Its methods may be called from
// any goroutine.
type members struct {
	env
	watch       *watch
	incarnation uint64
	whoIsAt     func(context.Context, string) (wire.Hello, error)
	joining     chan struct{} // holds one token while a node is admitted or removed
}

func newMembers(
	e env, w *watch, incarnation uint64, whoIsAt func(context.Context, string) (wire.Hello, error),
) *members {
	return &members{env: e, watch: w, incarnation: incarnation, whoIsAt: whoIsAt, joining: make(chan struct{}, 1)}
}

// admit makes a node known and adds it to the log's group, on the leader. by is who asks.
func (m *members) admit(ctx context.Context, req wire.JoinRequest, by state.Identity) (wire.JoinReply, error) {
	select { // one at a time: each looks at how many votes there are
	case m.joining <- struct{}{}:
		defer func() { <-m.joining }()
	case <-ctx.Done():
		return wire.JoinReply{}, ctx.Err()
	}
	if err := m.confirm(ctx); err != nil {
		return wire.JoinReply{}, err
	}
	view := m.log.View()
	switch {
	case view.Cell == "":
		return wire.JoinReply{}, wire.Errorf(wire.OpJoin, wire.CodeUnavailable, "the cell is not founded yet")
	case req.Cell != "" && req.Cell != view.Cell:
		return wire.JoinReply{}, wire.Errorf(wire.OpJoin, wire.CodeWrongCell, "the folder of %s belongs to cell %s, "+
			"this is cell %s; give the node an empty --dir", req.Node, req.Cell, view.Cell)
	}
	if err := view.Welcomes(state.NodeID(req.Node), state.Level(req.Level)); err != nil {
		return wire.JoinReply{}, err
	}
	if err := checkRemoved(view, req); err != nil {
		return wire.JoinReply{}, err
	}
	if state.Level(req.Level) < state.LevelMembers {
		by = "" // the node that comes could not read who it was
	}
	if err := m.checkDuplicate(ctx, view, req); err != nil {
		return wire.JoinReply{}, err
	}
	if err := m.freeAddress(ctx, view, req, by); err != nil {
		return wire.JoinReply{}, err
	}
	voter, err := m.addToGroup(ctx, req)
	if err != nil {
		return wire.JoinReply{}, err
	}
	join := m.joinCommand(view, req, voter)
	join.AskedBy = view.NamedMember(by)
	results, _, err := m.log.Propose(ctx, join)
	if err != nil {
		return wire.JoinReply{}, err
	}
	if results[0].Err != nil {
		return wire.JoinReply{}, results[0].Err
	}
	return m.joinReply(view.Cell)
}

func (m *members) joinReply(cell string) (wire.JoinReply, error) {
	servers, err := m.log.Servers()
	if err != nil {
		return wire.JoinReply{}, err
	}
	reply := wire.JoinReply{Cell: cell}
	for _, s := range servers {
		reply.Members = append(reply.Members, string(s.ID))
	}
	return reply, nil
}

// checkDuplicate refuses a second node with the ID of one that is alive, and an empty folder for a node
// that has replicas or a vote: its files would be thought to be there, and it could vote for a leader
// that lacks what the lost log had acknowledged. A node that was once up has its cell in its folder.
func (m *members) checkDuplicate(ctx context.Context, view *state.View, req wire.JoinRequest) error {
	if state.NodeID(req.Node) == m.id && req.Incarnation != m.incarnation {
		return DuplicateError(req.Node, m.addr, req.Addr)
	}
	node := view.Node(state.NodeID(req.Node))
	if node == nil || node.Incarnation == 0 || node.Incarnation == req.Incarnation {
		return nil
	}
	if held := view.CountReplicas(node.ID); req.Cell == "" && (held > 0 || node.Voter && node.State != state.NodeJoining) {
		return wire.Errorf(wire.OpJoin, wire.CodeWrongCell,
			"the folder of %s is empty, but the cell counts on its %d replicas, vote %t; start it with its old --dir, or, "+
				"if that is lost, start it under another --id and then decommission %s",
			req.Node, held, node.Voter, req.Node)
	}
	return m.checkCopy(ctx, node, req)
}

// addToGroup adds the node to the log's group, or gives it its new address there. It reports whether
// the node has a vote. A new node has none yet, also where votes are wanting: it takes no part in the
// log before it knows that it was admitted, and a vote that nobody casts could not even be agreed on.
// The planner gives it one once it is up.
func (m *members) addToGroup(ctx context.Context, req wire.JoinRequest) (voter bool, err error) {
	servers, err := m.log.Servers()
	if err != nil {
		return false, err
	}
	for _, s := range servers {
		switch {
		case s.ID != state.NodeID(req.Node):
		case s.Addr == req.Addr:
			return s.Voter, nil
		case s.Voter:
			return true, m.log.AddVoter(ctx, s.ID, req.Addr)
		}
	}
	return false, m.log.AddNonvoter(ctx, state.NodeID(req.Node), req.Addr)
}

// ServeJoin admits a node, on the leader.
func (l *Leader) ServeJoin(ctx context.Context, c *mux.ServerCall, req wire.JoinRequest) error {
	if err := l.mayJoin(c, &req); err != nil {
		return err
	}
	reply, err := l.members.admit(ctx, req, state.Identity(c.Asker()))
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}

// Admit has this node, which leads, admit itself as it is now.
func (l *Leader) Admit(ctx context.Context, req wire.JoinRequest) (wire.JoinReply, error) {
	by := state.Identity("")
	if l.o.Secure {
		by = l.o.Identity(l.id)
	}
	return l.members.admit(ctx, req, by)
}
