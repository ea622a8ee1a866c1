package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
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
	Deny string // PEM of the lists of what these have withdrawn; empty: nothing is
}

// Any reports whether one of them is named.
func (f Files) Any() bool { return f != Files{} }

// Complete reports whether all are named that TLS needs.
func (f Files) Complete() bool { return f.Cert != "" && f.Key != "" && f.CA != "" }

// Source is a program's own certificate and the authorities that it trusts, as they are in files now.
// The files are looked at when a handshake begins, and by Refresh. When they have changed they are read again; what
// cannot be used, such as a certificate whose key is not replaced yet, leaves the last good ones in use.
type Source struct {
	files Files
	now   func() time.Time

	mu      sync.Mutex
	loaded  *material // Guarded by mu. Never nil after Open. The value is immutable.
	changed error     // Guarded by mu. Why what is in the files now is not used; nil when it is.
	deny    denial    // Guarded by mu.
}

// material is what the files held at one moment.
type material struct {
	id          Identity
	leaf        *x509.Certificate
	own         tls.Certificate
	roots       *x509.CertPool
	authorities []*x509.Certificate // those in roots
	seen        [3]os.FileInfo
}

// denial is the deny list in force, and what was read to make it.
type denial struct {
	list    *denyList // never nil
	seen    os.FileInfo
	by      *material // whose authorities it was checked with
	changed error     // why what is in the file now is not used; nil when it is
}

// Open reads the files. The errors are for the person who named them.
func Open(f Files) (*Source, error) { return OpenAt(f, time.Now) }

// OpenAt is Open with another clock than the system's.
func OpenAt(f Files, now func() time.Time) (*Source, error) {
	if !f.Complete() {
		return nil, fmt.Errorf("TLS needs a certificate, its key and the authority's certificate; named are %q, %q and %q",
			f.Cert, f.Key, f.CA)
	}
	m, err := load(f, now())
	if err != nil {
		return nil, err
	}
	s := &Source{files: f, now: now, loaded: m, deny: denial{list: &denyList{}}}
	s.refreshDenyLocked() // nobody else has it yet
	if s.deny.changed != nil {
		return nil, fmt.Errorf(
			"%w; without the deny list nobody would be kept out, so it must be there and good from the start",
			s.deny.changed)
	}
	if err := s.ownLocked(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Cert, err)
	}
	return s, nil
}

// Identity is whose certificate this is. It never changes.
func (s *Source) Identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded.id
}

// CheckHost reports whether others accept this certificate when they dial a host.
func (s *Source) CheckHost(host string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded.leaf.VerifyHostname(host)
}

// Hosts are the names and addresses that the certificate is for.
func (s *Source) Hosts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return hostsOf(s.loaded.leaf)
}

// Stale is why what is in the files now is not used, nil when it is.
func (s *Source) Stale() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Until is when the certificate ends that is shown now.
func (s *Source) Until() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded.leaf.NotAfter
}

// Own reports whether this program's own certificate is still good: nil, or an *Unfit.
func (s *Source) Own() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ownLocked()
}

func (s *Source) ownLocked() error {
	if now := s.now(); now.After(s.loaded.leaf.NotAfter) {
		return unfit(Expired, s.loaded.leaf)
	}
	for _, a := range s.loaded.authorities {
		// One of them has signed it, or what is between. Of the others' lists none has this serial number.
		cert := s.deny.list.holds([]*x509.Certificate{s.loaded.leaf, a})
		if cert != nil && s.loaded.leaf.CheckSignatureFrom(a) == nil {
			return unfit(Revoked, cert)
		}
	}
	return nil
}

// Deny describes the deny list: how many certificates are revoked, when it should have been replaced, zero for
// never, and why what is in the file now is not used, nil when it is. The last good one stays in force.
func (s *Source) Deny() (certs int, due time.Time, stale error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.deny.list.serials), s.deny.list.due, s.deny.changed
}

// Refresh looks at the files, as a handshake does, so that Judge knows what is in them.
func (s *Source) Refresh() { s.current() }

// current is what the files hold, or the last that could be used.
func (s *Source) current() *material {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshLocked()
	s.refreshDenyLocked()
	return s.loaded
}

func (s *Source) refreshLocked() {
	seen, err := s.files.stat()
	if err == nil && same(seen, s.loaded.seen) {
		s.changed = nil
		return
	}
	fresh, err := load(s.files, s.now())
	if err == nil && fresh.id != s.loaded.id {
		err = fmt.Errorf("%s is now that of %s, want %s", s.files.Cert, fresh.id, s.loaded.id)
	}
	if s.changed = err; err == nil {
		s.loaded = fresh
	}
}

// refreshDenyLocked reads the deny list when its file, or who may sign it, has changed.
func (s *Source) refreshDenyLocked() {
	if s.files.Deny == "" {
		return
	}
	seen, err := os.Stat(s.files.Deny)
	if err == nil && s.deny.seen != nil && s.deny.by == s.loaded && sameFile(seen, s.deny.seen) {
		return // as good, or as bad, as it was
	}
	var fresh *denyList
	if err != nil {
		err = fmt.Errorf("deny list: %w", err)
	} else {
		fresh, err = loadDenyList(s.files.Deny, s.loaded.authorities)
	}
	if err == nil && fresh.olderThan(s.deny.list) {
		err = fmt.Errorf("deny list %s is older than the one in force", s.files.Deny)
	}
	s.deny.changed, s.deny.seen, s.deny.by = err, seen, s.loaded
	if err == nil {
		s.deny.list = fresh
	}
}

func loadDenyList(name string, authorities []*x509.Certificate) (*denyList, error) {
	text, err := readFile(name, maxDenyBytes)
	if err != nil {
		return nil, err
	}
	list, err := parseDenyList(text, authorities)
	if err != nil {
		return nil, fmt.Errorf("deny list %s: %w", name, err)
	}
	return list, nil
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
		if !sameFile(a[i], b[i]) {
			return false
		}
	}
	return true
}

func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

// CheckKeyFile refuses a file that somebody else than its owner may read: whoever has the key is whom its
// certificate names.
func CheckKeyFile(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return checkKeyMode(name, info)
}

func checkKeyMode(name string, info os.FileInfo) error {
	const others = 0o077
	mode := info.Mode().Perm()
	if runtime.GOOS == "windows" || runtime.GOOS == "wasip1" || mode&others == 0 { // these have no such modes
		return nil
	}
	return fmt.Errorf("key %s is open to others than its owner, mode %04o; run chmod 600 %s, "+
		"and make a new key if anybody may have read it", name, mode, name)
}

// load reads the files and checks that they belong together.
func load(f Files, now time.Time) (*material, error) {
	m := &material{roots: x509.NewCertPool()}
	var err error
	if m.seen, err = f.stat(); err != nil { // before reading: a change in between is seen the next time
		return nil, err
	}
	if err := checkKeyMode(f.Key, m.seen[1]); err != nil {
		return nil, err
	}
	var text [3][]byte
	for i, name := range []string{f.Cert, f.Key, f.CA} {
		if text[i], err = readFile(name, maxFileBytes); err != nil {
			return nil, err
		}
	}
	m.addAuthorities(text[2])
	if len(m.authorities) == 0 {
		return nil, fmt.Errorf("%s holds no certificate of an authority", f.CA)
	}
	if m.own, err = tls.X509KeyPair(text[0], text[1]); err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	m.leaf = m.own.Leaf
	if m.id, err = IdentityOf(m.leaf); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Cert, err)
	}
	return m, m.verify(f, now)
}

// addAuthorities reads what x509.CertPool.AppendCertsFromPEM does, and passes over the same.
func (m *material) addAuthorities(text []byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate || len(block.Headers) != 0 {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			m.roots.AddCert(c)
			m.authorities = append(m.authorities, c)
		}
	}
}

// verify finds out now what every peer would otherwise say.
func (m *material) verify(f Files, now time.Time) error {
	between := x509.NewCertPool()
	for _, der := range m.own.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Cert, err)
		}
		between.AddCert(c)
	}
	_, err := m.leaf.Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
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

func readFile(name string, most int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return text, err
}
