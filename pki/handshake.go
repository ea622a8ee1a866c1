package pki

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
)

// Server greets a connection that was accepted, and says who is there and which of the protocols was
// agreed on. It closes the connection when it fails.
func (s *Source) Server(ctx context.Context, nc net.Conn, protocols ...string) (*Conn, Identity, error) {
	m := s.current()
	return s.shake(ctx, m, NewServer(nc, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: protocols, Certificates: []tls.Certificate{m.own}, Time: s.now,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: m.roots,
		// Connections are few and long, and a resumed one would outlive the certificate it began with.
		SessionTicketsDisabled: true,
		VerifyConnection:       s.verify(m, protocols),
	}))
}

// ProtocolHTTP is what is agreed on with browsers and scrapers.
const ProtocolHTTP = "http/1.1"

// HTTPConfig is for an HTTP server. A peer may come without a certificate: what it may see then is the server's to
// say. One that it shows must be good, of any role.
func (s *Source) HTTPConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { // as the files are now
			m := s.current()
			return &tls.Config{
				MinVersion: tls.VersionTLS13, NextProtos: []string{ProtocolHTTP}, Time: s.now,
				Certificates: []tls.Certificate{m.own},
				ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: m.roots, SessionTicketsDisabled: true,
				VerifyConnection: func(state tls.ConnectionState) error {
					if len(state.PeerCertificates) == 0 {
						return nil
					}
					if err := m.checkIdentity(&state); err != nil {
						return err
					}
					return s.JudgeState(&state)
				},
			}, nil
		},
	}
}

// Client greets a node at addr over a connection to it. It closes the connection when it fails.
func (s *Source) Client(ctx context.Context, nc net.Conn, addr, protocol string) (*Conn, Identity, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		nc.Close()
		return nil, Identity{}, err
	}
	m := s.current()
	tc, id, err := s.shake(ctx, m, NewClient(nc, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, Time: s.now,
		Certificates: []tls.Certificate{m.own},
		RootCAs:      m.roots, ServerName: host, VerifyConnection: s.verify(m, []string{protocol}, RoleNode),
	}))
	if err != nil {
		return nil, Identity{}, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return tc, id, nil
}

func (s *Source) shake(ctx context.Context, m *material, tc *Conn) (*Conn, Identity, error) {
	if err := tc.HandshakeContext(ctx); err != nil {
		tc.NetConn().Close()
		return nil, Identity{}, err
	}
	state := tc.ConnectionState()
	tc.proof = newProof(&state, m.leaf)
	id, err := PeerOf(&state)
	if err != nil {
		tc.NetConn().Close()
		return nil, Identity{}, err
	}
	return tc, id, nil
}

// verify checks what the chain does not say: whose the certificate is, and whether it is revoked.
func (s *Source) verify(m *material, protocols []string, roles ...Role) func(tls.ConnectionState) error {
	check := m.checkPeer(protocols, roles...)
	return func(state tls.ConnectionState) error {
		if err := check(state); err != nil {
			return err
		}
		return s.judge(newProof(&state, m.leaf))
	}
}

// checkPeer checks what the chain does not say. A peer that offers no protocol at all is let through by
// crypto/tls, and refused here.
func (m *material) checkPeer(protocols []string, roles ...Role) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		id, err := PeerOf(&state)
		if err == nil {
			err = m.checkIdentity(&state)
		}
		switch {
		case err != nil:
			return err
		case len(roles) > 0 && !slices.Contains(roles, id.Role):
			return fmt.Errorf("the certificate is that of %s, want a %s's", id, roles[0])
		case !slices.Contains(protocols, state.NegotiatedProtocol):
			return fmt.Errorf("%s agreed on protocol %q, want one of %q", id, state.NegotiatedProtocol, protocols)
		}
		return nil
	}
}

// checkIdentity reports whether the peer's certificate names somebody of this cluster.
func (m *material) checkIdentity(state *tls.ConnectionState) error {
	id, err := PeerOf(state)
	if err == nil && id.Cluster != m.id.Cluster {
		err = fmt.Errorf("%s is of cluster %q, want %q", id, id.Cluster, m.id.Cluster)
	}
	return err
}
