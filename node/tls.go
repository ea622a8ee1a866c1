package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/wire"
)

// security is a node's side of TLS. A nil one is plaintext.
type security struct {
	source  *pki.Source
	members func() ([]raftlog.ServerInfo, error) // of the log's group, as this node's log has it
	ctx     func() context.Context               // ends when the node stops
	logger  *slog.Logger

	mu        sync.Mutex
	vouched   []string         // Guarded by mu. The group's members by the last answer to a join.
	stale     string           // Guarded by mu. What was last said about files that cannot be used.
	staleDeny string           // Guarded by mu. The same of the deny list.
	refused   map[unfit]uint64 // Guarded by mu. Certificates that were good once.
}

// openSecurity reads the certificate of a node; nil when it has none.
func openSecurity(cfg Config) (*security, error) {
	if !cfg.TLS.Any() {
		return nil, nil
	}
	source, err := pki.OpenAt(cfg.TLS, cfg.Clock.Now)
	if err != nil {
		return nil, err
	}
	if id := source.Identity(); id.Role != pki.RoleNode || id.Name != cfg.ID {
		return nil, fmt.Errorf("certificate %s is that of %s, this is node %s; make one with datanode cert node %s", cfg.TLS.Cert, id, cfg.ID, cfg.ID)
	}
	return &security{source: source, refused: map[unfit]uint64{}}, nil
}

// useSecurity gives the node its certificate, before anything is dialed or accepted.
func (n *Node) useSecurity(s *security) error {
	if s == nil {
		return nil
	}
	s.ctx, s.logger, s.members = func() context.Context { return n.ctx }, n.logger, n.members
	n.secure, n.listener.secure, n.peers.secure = s, s, s
	host, _, err := net.SplitHostPort(n.addr)
	if err == nil {
		err = s.source.CheckHost(host)
	}
	if err != nil {
		return fmt.Errorf("others will dial %s, which certificate %s is not for: %w; say another --advertise, or make one with datanode cert node %s --host %s",
			n.addr, n.cfg.TLS.Cert, err, n.id, host)
	}
	return nil
}

// role is that of the nodes that are dialed: there is none in plaintext.
func (s *security) role() pki.Role {
	if s == nil {
		return ""
	}
	return pki.RoleNode
}

// nodeAt is the node that the log's group has at an address, empty if it is not known.
func (n *Node) nodeAt(addr string) string {
	servers, err := n.members()
	if err != nil {
		return ""
	}
	for _, m := range servers {
		if m.Addr == addr {
			return string(m.ID)
		}
	}
	return ""
}

// members are those of the log's group. Raft dials while the log is being opened.
func (n *Node) members() ([]raftlog.ServerInfo, error) {
	group := n.group.Load()
	if group == nil {
		return nil, errors.New("the log is not open yet")
	}
	return group.Servers()
}

// accept does the handshake on a connection whose first byte is TLS, and reads the preamble byte in it.
func (s *security) accept(nc net.Conn) (net.Conn, caller, byte, error) {
	tc, id, err := s.source.Server(s.ctx(), nc, pki.ProtocolFrames, pki.ProtocolRaft)
	s.tellStale()
	if err != nil {
		s.countUnfit(err, atHandshake)
		return nil, caller{}, 0, fmt.Errorf("TLS: %w", err)
	}
	want := wire.PreambleFrames
	if tc.ConnectionState().NegotiatedProtocol == pki.ProtocolRaft {
		want = wire.PreambleRaft
	}
	got, err := readByte(tc)
	if err == nil && got != want {
		err = fmt.Errorf("%s agreed on %s and began with %#x, want %#x", id, tc.ConnectionState().NegotiatedProtocol, got, want)
	}
	return tc, caller{secure: true, Identity: id}, got, err
}

// checkStream judges a raft stream: it must be from a node of the group, by its own certificate. A node
// that was never in a group knows no members: to it, as to one that is let in, the authority vouches.
func (s *security) checkStream(hello streamHello, who caller) error {
	if who.Role != pki.RoleNode {
		return wire.Errorf(0, wire.CodeDenied, "raft stream with the certificate of %s, want a node's", who)
	}
	if hello.node != who.Name {
		return wire.Errorf(0, wire.CodeDenied, "raft stream of node %q with the certificate of %s", hello.node, who)
	}
	member, err := s.isMember(who.Name)
	if err == nil && !member {
		err = fmt.Errorf("raft stream of %s, which is not in the group's configuration", who)
	}
	return err
}

// isMember tells whether a node is in the group, as far as this one knows.
func (s *security) isMember(node string) (bool, error) {
	servers, err := s.members()
	if err != nil {
		return false, err
	}
	named := func(m raftlog.ServerInfo) bool { return string(m.ID) == node }
	return len(servers) == 0 || slices.ContainsFunc(servers, named) || s.isVouched(node), nil
}

// vouch notes who is in the group by the cell's own word. This node's log may be too old to know: one
// that was away while the others were replaced could otherwise never hear its leader again.
func (s *security) vouch(members []string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vouched = members
}

func (s *security) isVouched(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.vouched, node)
}

// dialFrames makes a connection for frames of one to a node, and tells which node that is.
func (s *security) dialFrames(ctx context.Context, nc net.Conn, addr string) (*pki.Conn, string, error) {
	tc, id, err := s.source.Client(ctx, nc, addr, pki.ProtocolFrames)
	s.tellStale()
	s.countUnfit(err, atHandshake)
	return tc, id.Name, err
}

// dialStream makes a raft stream of a connection. It must lead to the node that the group's
// configuration has at this address.
func (s *security) dialStream(ctx context.Context, nc net.Conn, addr string) (net.Conn, error) {
	tc, id, err := s.source.Client(ctx, nc, addr, pki.ProtocolRaft)
	s.tellStale()
	if err != nil {
		s.countUnfit(err, atHandshake)
		return nil, err
	}
	servers, err := s.members()
	if err != nil {
		tc.Close()
		return nil, err
	}
	for _, m := range servers {
		if m.Addr == addr && string(m.ID) != id.Name {
			tc.Close()
			return nil, fmt.Errorf("%s is %s, want node %s", addr, id, m.ID)
		}
	}
	return tc, nil
}
