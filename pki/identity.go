// Package pki is who may talk to whom: the certificates of a cell, and TLS with them.
//
// A certificate carries one identity, as its only URI SAN of the scheme datanode:
//
//	datanode://CLUSTER/node/ID        a node of this ID
//	datanode://CLUSTER/admin/NAME     may also change the cell
//	datanode://CLUSTER/client/NAME    may store, read, delete and look
//
// CLUSTER is the name that the authority was made with. Both sides must be of the same one, so that two
// clusters can share an authority. Nothing else in a certificate is looked at, but what TLS itself does:
// the chain up to the authority, the validity, the usage and, on the dialing side, the host.
//
// An Authority makes certificates. A Source holds those that one program uses, and takes up new ones
// when their files change. TLS is always 1.3, mutual, and agreed on a protocol by ALPN.
//
// # Concurrency
//
// A Source may be used from any goroutine. Nothing here starts one.
package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
)

// Role is what a certificate allows its holder to be.
type Role string

// The roles. They are part of certificates: never changed, only appended.
const (
	RoleNode   Role = "node"
	RoleAdmin  Role = "admin"
	RoleClient Role = "client"
)

// The protocols that ALPN chooses between.
const (
	ProtocolFrames = "datanode/1"
	ProtocolRaft   = "datanode-raft/1"
)

const (
	scheme = "datanode"
	// maxNameBytes bounds names of clusters, nodes and people.
	maxNameBytes = 64
)

// Identity is who a certificate is for.
type Identity struct {
	Cluster string
	Role    Role
	Name    string // of a node: its ID
}

// String is how people read it, such as "node n1".
func (id Identity) String() string { return string(id.Role) + " " + id.Name }

// URI is the identity as it is in a certificate.
func (id Identity) URI() *url.URL {
	return &url.URL{Scheme: scheme, Host: id.Cluster, Path: "/" + string(id.Role) + "/" + id.Name}
}

func (id Identity) valid() error {
	if err := validName("cluster", id.Cluster); err != nil {
		return err
	}
	switch id.Role {
	case RoleNode, RoleAdmin, RoleClient:
	default:
		return fmt.Errorf("role %q: want node, admin or client", id.Role)
	}
	return validName(string(id.Role), id.Name)
}

// validName keeps names to what needs no escaping in a URI or a file's name.
func validName(what, s string) error {
	if s == "" || len(s) > maxNameBytes {
		return fmt.Errorf("%s %q: want a name of 1 to %d bytes", what, s, maxNameBytes)
	}
	for i, c := range []byte(s) {
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !plain && (i == 0 || !strings.ContainsRune("-_.", rune(c))) {
			return fmt.Errorf("%s %q: want letters, digits, '-', '_' and '.', beginning with a letter or a digit", what, s)
		}
	}
	return nil
}

// ParseIdentity reads what URI writes, and nothing else.
func ParseIdentity(text string) (Identity, error) {
	rest, ok := strings.CutPrefix(text, scheme+"://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return Identity{}, fmt.Errorf("%q is not %s://CLUSTER/ROLE/NAME", text, scheme)
	}
	id := Identity{Cluster: parts[0], Role: Role(parts[1]), Name: parts[2]}
	if err := id.valid(); err != nil {
		return Identity{}, fmt.Errorf("%q: %w", text, err)
	}
	return id, nil
}

// IdentityOf is the identity in a certificate. One that has none, or several, is refused: which of them
// counts would be a matter of taste.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	var found []string
	for _, u := range cert.URIs {
		if u.Scheme == scheme {
			found = append(found, u.String())
		}
	}
	if len(found) != 1 {
		return Identity{}, fmt.Errorf("certificate of %q has %d URIs %s://CLUSTER/ROLE/NAME, want one",
			cert.Subject.CommonName, len(found), scheme)
	}
	return ParseIdentity(found[0])
}

// PeerOf is who is at the other end of a connection whose handshake has succeeded.
func PeerOf(state *tls.ConnectionState) (Identity, error) {
	if len(state.PeerCertificates) == 0 {
		return Identity{}, fmt.Errorf("the peer has no certificate")
	}
	return IdentityOf(state.PeerCertificates[0])
}
