package member

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

func (m *Member) joinRequest() wire.JoinRequest {
	return wire.JoinRequest{
		Node: string(m.o.Node), Addr: m.o.Addr, Incarnation: m.o.Incarnation, Cell: m.o.Folder.AdmittedBy(),
		Level: uint8(state.LevelNow), Last: uint64(m.lastAtStart), Before: m.o.RunsBefore,
	}
}

// join asks the cell to know this incarnation at this address.
func (m *Member) join(ctx context.Context) error {
	req := m.joinRequest()
	var errs []error
	strangers, answered := 0, false
	for _, addr := range m.cellAddrs() {
		conn, err := m.o.Network.Conn(ctx, "", addr)
		switch {
		case err == nil:
			answered = true
			if err = m.joinAt(ctx, conn, req); err == nil {
				return nil
			}
			if code := wire.CodeOf(err); code == wire.CodeWrongCell || code == wire.CodePrecondition {
				return &RefusedError{err}
			}
		case wire.CodeOf(err) == wire.CodeWrongCell:
			strangers++
		}
		errs = append(errs, err)
	}
	// One address that another cell uses now may only be out of date. When nobody else answers, it is
	// the folder that is wrong.
	if strangers > 0 && !answered {
		return &RefusedError{fmt.Errorf("data folder %s belongs to cell %s, and only nodes of other cells answer: %w",
			m.o.Dir, m.o.Folder.Cell(), errors.Join(errs...))}
	}
	return errors.Join(errs...)
}

func (m *Member) joinAt(ctx context.Context, conn *mux.Conn, req wire.JoinRequest) error {
	if leader, _ := m.o.Log.Leader(); leader == "" {
		conn = m.leaderBy(ctx, conn)
	}
	reply, err := ask[wire.JoinReply](ctx, conn, wire.OpJoin, &req)
	if err != nil {
		return err
	}
	m.o.Network.Vouch(reply.Members)
	return m.o.Folder.Admit(reply.Cell)
}

// leaderBy is a connection to the node that another takes for the leader, else the one to that other. A node joins at
// the leader itself; only an older build passes a join on that is not its own.
func (m *Member) leaderBy(ctx context.Context, conn *mux.Conn) *mux.Conn {
	reply, err := ask[wire.NodesReply](ctx, conn, wire.OpNodes, nil)
	for _, node := range reply.Nodes {
		if !node.Leader || node.ID == conn.Peer().Node {
			continue
		}
		leader, failed := m.o.Network.Conn(ctx, node.ID, node.Addr)
		if failed == nil {
			return leader
		}
		err = failed
	}
	if err != nil {
		m.o.Logger.Debug("leader not found", "asked", conn.Peer().Node, "error", err)
	}
	return conn
}

// cellAddrs is where nodes of the cell may be found: the leader, those that the state or the group names, those named
// at the start. A node that has just started knows only the latter two.
func (m *Member) cellAddrs() []string {
	var addrs []string
	add := func(id state.NodeID, addr string) {
		if addr != "" && id != m.o.Node && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	add(m.o.Log.Leader())
	m.o.Log.View().Nodes(func(node *state.Node) bool {
		add(node.ID, node.Addr)
		return true
	})
	servers, err := m.o.Log.Servers()
	if err != nil {
		m.o.Logger.Debug("members of the group not known", "error", err)
	}
	for _, s := range servers {
		add(s.ID, s.Addr)
	}
	for _, s := range m.o.Bootstrap {
		add(s.ID, s.Addr)
	}
	for _, addr := range m.o.Join {
		add("", addr)
	}
	return addrs
}

// lookForOriginal finds out whether this node runs on a copy of its folder: it asks the address at which the log has
// this node, if that is not here, who is there. If nobody is, and nobody could elect a leader that admits this node, it
// takes its place without.
func (m *Member) lookForOriginal(ctx context.Context) error {
	addr, needed := m.o.Log.Away()
	if addr == "" {
		return nil
	}
	there, err := m.o.WhoIsAt(ctx, addr)
	switch {
	case err == nil && there.Node == string(m.o.Node) && there.Incarnation != m.o.Incarnation:
		return &RefusedError{lead.DuplicateError(string(m.o.Node), addr, m.o.Addr)}
	case err != nil && needed:
		return err
	case needed:
		m.o.Logger.Warn("this node has moved: nobody is where its log has it", "was", addr, "is", m.o.Addr)
		m.o.Log.StayHere()
	}
	return nil
}
