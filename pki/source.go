package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// maxFileBytes bounds each file that is read: a chain, a key, a few authorities.
const maxFileBytes = 1 << 20

// Files are where a program's certificate is. The zero value is none.
type Files struct {
	Cert string // PEM, the program's own first
	Key  string // PEM
	CA   string // PEM of the authorities that others' certificates may be from
}

// Any tells whether one of them is named.
func (f Files) Any() bool { return f != Files{} }

// Complete tells whether all are named.
func (f Files) Complete() bool { return f.Cert != "" && f.Key != "" && f.CA != "" }

// Source is a program's own certificate and the authorities that it trusts, as they are in files now.
// The files are looked at when a handshake begins. When they have changed they are read again; what
// cannot be used, such as a certificate whose key is not replaced yet, leaves the last good ones in use.
type Source struct {
	files Files

	mu      sync.Mutex
	loaded  *material // Guarded by mu. Never nil after Open. The value is immutable.
	changed error     // Guarded by mu. Why what is in the files now is not used; nil when it is.
}

// material is what the files held at one moment.
type material struct {
	id    Identity
	leaf  *x509.Certificate
	own   tls.Certificate
	roots *x509.CertPool
	seen  [3]os.FileInfo
}

// Open reads the files. The errors are for the person who named them.
func Open(f Files) (*Source, error) {
	if !f.Complete() {
		return nil, fmt.Errorf("TLS needs a certificate, its key and the authority's certificate; named are %q, %q and %q", f.Cert, f.Key, f.CA)
	}
	m, err := load(f)
	if err != nil {
		return nil, err
	}
	return &Source{files: f, loaded: m}, nil
}

// Identity is whose certificate this is. It never changes.
func (s *Source) Identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded.id
}

// CheckHost tells whether others accept this certificate when they dial a host.
func (s *Source) CheckHost(host string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded.leaf.VerifyHostname(host)
}

// Stale is why what is in the files now is not used, nil when it is.
func (s *Source) Stale() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// current is what the files hold, or the last that could be used.
func (s *Source) current() *material {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, err := s.files.stat()
	if err == nil && same(seen, s.loaded.seen) {
		s.changed = nil
		return s.loaded
	}
	fresh, err := load(s.files)
	if err == nil && fresh.id != s.loaded.id {
		err = fmt.Errorf("%s is now that of %s, want %s", s.files.Cert, fresh.id, s.loaded.id)
	}
	if s.changed = err; err == nil {
		s.loaded = fresh
	}
	return s.loaded
}

func (f Files) stat() (infos [3]os.FileInfo, err error) {
	for i, name := range []string{f.Cert, f.Key, f.CA} {
		if infos[i], err = os.Stat(name); err != nil {
			return infos, err
		}
	}
	return infos, nil
}

func same(a, b [3]os.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size() {
			return false
		}
	}
	return true
}

// load reads the files and checks that they belong together.
func load(f Files) (*material, error) {
	m := &material{roots: x509.NewCertPool()}
	var err error
	if m.seen, err = f.stat(); err != nil { // before reading: a change in between is seen the next time
		return nil, err
	}
	var text [3][]byte
	for i, name := range []string{f.Cert, f.Key, f.CA} {
		if text[i], err = readFile(name); err != nil {
			return nil, err
		}
	}
	if !m.roots.AppendCertsFromPEM(text[2]) {
		return nil, fmt.Errorf("%s holds no certificate of an authority", f.CA)
	}
	if m.own, err = tls.X509KeyPair(text[0], text[1]); err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	m.leaf = m.own.Leaf
	if m.id, err = IdentityOf(m.leaf); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Cert, err)
	}
	return m, m.verify(f)
}

// verify finds out now what every peer would otherwise say.
func (m *material) verify(f Files) error {
	between := x509.NewCertPool()
	for _, der := range m.own.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Cert, err)
		}
		between.AddCert(c)
	}
	_, err := m.leaf.Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	invalid := x509.CertificateInvalidError{}
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%s is valid from %s to %s; make a new one with datanode cert %s %s --renew",
			f.Cert, m.leaf.NotBefore.Format(time.RFC3339), m.leaf.NotAfter.Format(time.RFC3339), m.id.Role, m.id.Name)
	case err != nil:
		return fmt.Errorf("%s is not from the authority in %s: %w", f.Cert, f.CA, err)
	}
	return nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFileBytes)
	}
	return text, err
}
