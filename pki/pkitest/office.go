// Package pkitest makes certificates for tests: an Office is an authority that issues them into files of a test's own.
// It has no goroutine, and is used by one at a time.
package pkitest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/datanode/datanode/pki"
)

// Office makes certificates for a test, which fails if it cannot.
type Office struct {
	Authority *pki.Authority
	Cert      []byte // the authority's own

	t *testing.T
}

// New opens the office of a cluster.
func New(t *testing.T, cluster string) *Office {
	t.Helper()
	authority, pair, err := pki.NewAuthority(cluster, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &Office{Authority: authority, Cert: pair.Cert, t: t}
}

// Pair is a certificate that ends at a time, and its key. A node's is for 127.0.0.1.
func (o *Office) Pair(role pki.Role, name string, expiry time.Time) pki.Pair {
	o.t.Helper()
	r := pki.Request{Role: role, Name: name, From: expiry.Add(-24 * time.Hour), Expiry: expiry}
	if role == pki.RoleNode {
		r.Hosts = []string{"127.0.0.1"}
	}
	pair, err := o.Authority.Issue(r)
	if err != nil {
		o.t.Fatal(err)
	}
	return pair
}

// Files are those of a new certificate, good for an hour, in a folder of their own.
func (o *Office) Files(role pki.Role, name string) pki.Files {
	o.t.Helper()
	dir := o.t.TempDir()
	f := pki.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")}
	o.Write(f, o.Pair(role, name, time.Now().Add(time.Hour)))
	return f
}

// Write replaces the files, as another file each.
func (o *Office) Write(f pki.Files, pair pki.Pair) {
	o.t.Helper()
	for name, text := range map[string][]byte{f.Cert: pair.Cert, f.Key: pair.Key, f.CA: o.Cert} {
		if err := errors.Join(os.WriteFile(name+".new", text, 0o600), os.Rename(name+".new", name)); err != nil {
			o.t.Fatal(err)
		}
	}
}

// Source is a new certificate, read.
func (o *Office) Source(role pki.Role, name string) *pki.Source {
	o.t.Helper()
	s, err := pki.Open(o.Files(role, name))
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}
