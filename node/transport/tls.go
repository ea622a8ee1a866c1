package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/wire"
)

// OpenSource reads the certificate of a node; nil when it has none.
func OpenSource(files pki.Files, node string, now func() time.Time) (*pki.Source, error) {
	if !files.Any() {
		return nil, nil
	}
	source, err := pki.OpenAt(files, now)
	if err != nil {
		return nil, err
	}
	if id := source.Identity(); id.Role != pki.RoleNode || id.Name != node {
		return nil, fmt.Errorf("certificate %s is that of %s, this is node %s; make one with datanode cert node %s",
			files.Cert, id, node, node)
	}
	return source, nil
}

// security is a node's side of TLS. A nil one is plaintext.
type security struct {
	source  *pki.Source
	members func() ([]raftlog.ServerInfo, error) // see Options
	ctx     context.Context                      // ends when the node stops
	logger  *slog.Logger

	mu        sync.Mutex
	vouched   []string                // Guarded by mu. The group's members by the last answer to a join.
	stale     string                  // Guarded by mu. What was last said about files that cannot be used.
	staleDeny string                  // Guarded by mu. The same of the deny list.
	rejected  map[RejectedCert]uint64 // Guarded by mu. Certificates that were good once.
}

func newSecurity(ctx context.Context, o *Options) *security {
	if o.Source == nil {
		return nil
	}
	return &security{source: o.Source, members: o.Members, ctx: ctx, logger: o.Logger, rejected: map[RejectedCert]uint64{}}
}

// role is that of the nodes that are dialed: there is none in plaintext.
func (s *security) role() pki.Role {
	if s == nil {
		return ""
	}
	return pki.RoleNode
}

// accept does the handshake on a connection whose first byte is TLS, and reads the preamble byte in it.
func (s *security) accept(nc net.Conn) (net.Conn, Caller, byte, error) {
	tc, id, err := s.source.Server(s.ctx, nc, pki.ProtocolFrames, pki.ProtocolRaft)
	s.logStale()
	if err != nil {
		s.countRejected(err, AtHandshake)
		return nil, Caller{}, 0, fmt.Errorf("TLS: %w", err)
	}
	want := wire.PreambleFrames
	if tc.ConnectionState().NegotiatedProtocol == pki.ProtocolRaft {
		want = wire.PreambleRaft
	}
	got, err := readByte(tc)
	if err == nil && got != want {
		err = fmt.Errorf("%s agreed on %s and began with %#x, want %#x",
			id, tc.ConnectionState().NegotiatedProtocol, got, want)
	}
	return tc, Caller{secure: true, Identity: id}, got, err
}

// checkStream judges a raft stream: it must be from a node of the group, by its own certificate. A node
// that was never in a group knows no members: to it, as to one that is admitted, the authority vouches.
func (s *security) checkStream(hello Hello, who Caller) error {
	if who.Role != pki.RoleNode {
		return wire.Errorf(0, wire.CodeDenied, "raft stream with the certificate of %s, want a node's", who)
	}
	if hello.Node != who.Name {
		return wire.Errorf(0, wire.CodeDenied, "raft stream of node %q with the certificate of %s", hello.Node, who)
	}
	member, err := s.isMember(who.Name)
	if err == nil && !member {
		err = fmt.Errorf("raft stream of %s, which is not in the group's configuration", who)
	}
	return err
}

// isMember reports whether a node is in the group, as far as this one knows.
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

// dialFrames makes a connection for frames of one to a node, and says which node that is.
func (s *security) dialFrames(ctx context.Context, nc net.Conn, addr string) (*pki.Conn, string, error) {
	tc, id, err := s.source.Client(ctx, nc, addr, pki.ProtocolFrames)
	s.logStale()
	s.countRejected(err, AtHandshake)
	return tc, id.Name, err
}

// dialStream makes a raft stream of a connection. It must lead to the node that the group's
// configuration has at this address.
func (s *security) dialStream(ctx context.Context, nc net.Conn, addr string) (net.Conn, error) {
	tc, id, err := s.source.Client(ctx, nc, addr, pki.ProtocolRaft)
	s.logStale()
	if err != nil {
		s.countRejected(err, AtHandshake)
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
