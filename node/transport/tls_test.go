package transport

import (
	"context"
	"errors"
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/pki/pkitest"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// A call that comes before the connection's claim is judged is denied as well.
func TestClaims(t *testing.T) {
	of := func(role pki.Role, name string) Caller {
		return CallerWith(pki.Identity{Cluster: "cell", Role: role, Name: name})
	}
	for _, c := range []struct {
		who   Caller
		claim string
		ok    bool
	}{
		{Caller{}, "", true}, {Caller{}, "n1", true}, // plaintext
		{of(pki.RoleNode, "n1"), "n1", true}, {of(pki.RoleNode, "n1"), "n2", false}, {of(pki.RoleNode, "n1"), "", false},
		{of(pki.RoleAdmin, "n1"), "n1", false}, {of(pki.RoleAdmin, "n1"), "", true},
		{of(pki.RoleClient, "n1"), "n1", false}, {of(pki.RoleClient, "n1"), "", true},
	} {
		if err := c.who.mayClaim(c.claim); (err == nil) != c.ok {
			t.Errorf("%s claims %q: %v, want allowed %t", c.who, c.claim, err, c.ok)
		}
	}
}

// A raft stream is judged by what this node's log knows, and by what the cell has told since.
func TestRaftStreamMembers(t *testing.T) {
	var servers []raftlog.ServerInfo
	s := &security{members: func() ([]raftlog.ServerInfo, error) { return servers, nil }}
	judge := func(node string) error {
		return s.checkStream(Hello{Node: node}, NodeCaller(node))
	}
	if err := judge("n7"); err != nil {
		t.Errorf("a node without a log hears nobody: %v", err)
	}
	servers = []raftlog.ServerInfo{{Server: raftlog.Server{ID: state.NodeID("n1")}}}
	if err := judge("n1"); err != nil {
		t.Errorf("a member is refused: %v", err)
	}
	if judge("n7") == nil {
		t.Error("a node that is not in the group is accepted")
	}
	s.vouch([]string{"n7", "n8"})
	if err := judge("n7"); err != nil {
		t.Errorf("a member that this node was away for is refused: %v", err)
	}
	s.members = func() ([]raftlog.ServerInfo, error) { return nil, errors.New("not open") }
	if judge("n1") == nil {
		t.Error("accepted before the members are known")
	}
}

// A raft stream that leads to another node than the group has at that address is not used.
func TestRaftDialsWhomItMeans(t *testing.T) {
	t.Parallel()
	o := pkitest.New(t, "cell")
	there := lone(t, Options{Source: o.Source(pki.RoleNode, "n1"), FirstByte: patience})
	addr := there.listener.Addr().String()
	for id, ok := range map[string]bool{"n1": true, "n2": false} {
		s := &security{source: o.Source(pki.RoleNode, "n3"), members: func() ([]raftlog.ServerInfo, error) {
			return []raftlog.ServerInfo{{Server: raftlog.Server{ID: state.NodeID(id), Addr: addr}}}, nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		nc, err := DialTCP(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		tc, err := s.dialStream(ctx, nc, addr)
		if (err == nil) != ok {
			t.Errorf("the group has %s there, n1 answers: %v, want accepted %t", id, err, ok)
		}
		if err == nil {
			tc.Close()
		}
	}
}

// A role includes those below it.
func TestRolesIncludeOthers(t *testing.T) {
	for _, c := range []struct {
		have, need pki.Role
		ok         bool
	}{
		{pki.RoleNode, pki.RoleNode, true}, {pki.RoleNode, pki.RoleAdmin, true}, {pki.RoleAdmin, pki.RoleNode, false},
		{pki.RoleAdmin, pki.RoleClient, true}, {pki.RoleClient, pki.RoleAdmin, false},
		{pki.RoleClient, pki.RoleNode, false}, {"", pki.RoleClient, false},
	} {
		if got := atLeast(c.have, c.need); got != c.ok {
			t.Errorf("%q for what %q may: %t, want %t", c.have, c.need, got, c.ok)
		}
	}
}
