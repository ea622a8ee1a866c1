package pki

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
)

// Server greets a connection that was accepted, and tells who is there and which of the protocols was
// agreed on. It closes the connection when it fails.
func (s *Source) Server(ctx context.Context, nc net.Conn, protocols ...string) (*Conn, Identity, error) {
	m := s.current()
	return shake(ctx, NewServer(nc, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols, Certificates: []tls.Certificate{m.own},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: m.roots,
		// Connections are few and long, and a resumed one would outlive the certificate it began with.
		SessionTicketsDisabled: true,
		VerifyConnection:       m.checkPeer(protocols),
	}))
}

// Client greets a node at addr over a connection to it. It closes the connection when it fails.
func (s *Source) Client(ctx context.Context, nc net.Conn, addr, protocol string) (*Conn, Identity, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		nc.Close()
		return nil, Identity{}, err
	}
	m := s.current()
	tc, id, err := shake(ctx, NewClient(nc, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, Certificates: []tls.Certificate{m.own},
		RootCAs: m.roots, ServerName: host, VerifyConnection: m.checkPeer([]string{protocol}, RoleNode),
	}))
	if err != nil {
		return nil, Identity{}, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return tc, id, nil
}

func shake(ctx context.Context, tc *Conn) (*Conn, Identity, error) {
	if err := tc.HandshakeContext(ctx); err != nil {
		tc.NetConn().Close()
		return nil, Identity{}, err
	}
	state := tc.ConnectionState()
	id, err := PeerOf(&state)
	if err != nil {
		tc.NetConn().Close()
		return nil, Identity{}, err
	}
	return tc, id, nil
}

// checkPeer checks what the chain does not say. A peer that offers no protocol at all is let through by
// crypto/tls, and refused here.
func (m *material) checkPeer(protocols []string, roles ...Role) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		id, err := PeerOf(&state)
		switch {
		case err != nil:
			return err
		case id.Cluster != m.id.Cluster:
			return fmt.Errorf("%s is of cluster %q, want %q", id, id.Cluster, m.id.Cluster)
		case len(roles) > 0 && !slices.Contains(roles, id.Role):
			return fmt.Errorf("the certificate is that of %s, want a %s's", id, roles[0])
		case !slices.Contains(protocols, state.NegotiatedProtocol):
			return fmt.Errorf("%s agreed on protocol %q, want one of %q", id, state.NegotiatedProtocol, protocols)
		}
		return nil
	}
}
