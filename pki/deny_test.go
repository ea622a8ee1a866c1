package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// withDeny names a deny list that has nothing yet.
func withDeny(t *testing.T, a *Authority, f Files) Files {
	t.Helper()
	f.Deny = filepath.Join(t.TempDir(), "revoked.pem")
	withdraw(t, a, f)
	return f
}

func withdraw(t *testing.T, a *Authority, f Files, serials ...*big.Int) {
	t.Helper()
	old, err := os.ReadFile(f.Deny)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	text, _, err := a.Withdraw(old, serials, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	replace(t, f.Deny, text)
}

func serial(t *testing.T, p Pair) *big.Int {
	t.Helper()
	cert, err := parseCert(p.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return cert.SerialNumber
}

// Either side refuses a certificate that is on the list; of two certificates of one name only the one that is on it.
func TestRevokedHandshake(t *testing.T) {
	a, pair := authority(t, "cell")
	n1, old, renewed := issue(t, a, RoleNode, "n1"), issue(t, a, RoleClient, "bob"), issue(t, a, RoleClient, "bob")
	nodeFiles := withDeny(t, a, store(t, n1, pair.Cert))
	clientFiles := withDeny(t, a, store(t, renewed, pair.Cert))
	node, client := open(t, nodeFiles), open(t, clientFiles)
	thief := open(t, store(t, old, pair.Cert))
	good := func() {
		t.Helper()
		if serverErr, clientErr := shakeHands(t, node, client, "127.0.0.1:1"); serverErr != nil || clientErr != nil {
			t.Fatalf("server %v, client %v", serverErr, clientErr)
		}
	}
	good()
	withdraw(t, a, nodeFiles, serial(t, old))
	good()
	serverErr, _ := shakeHands(t, node, thief, "127.0.0.1:1")
	refusedWith(t, serverErr, "client bob", "revoked")
	if UnfitReason(serverErr) != Revoked {
		t.Errorf("%v is not told as that", serverErr)
	}
	withdraw(t, a, clientFiles, serial(t, n1))
	_, clientErr := shakeHands(t, node, client, "127.0.0.1:1")
	refusedWith(t, clientErr, "node n1", "revoked")
}

// A serial number is one authority's own, and each has a list of its own in the file.
func TestListsOfTwoAuthorities(t *testing.T) {
	a, pair := authority(t, "cell")
	b, otherPair := authority(t, "cell")
	both := append(bytes.Clone(pair.Cert), otherPair.Cert...)
	bob := issue(t, a, RoleClient, "bob")
	f := withDeny(t, a, store(t, issue(t, a, RoleNode, "n1"), both))
	withdraw(t, b, f, serial(t, bob)) // b never signed that
	node := open(t, f)
	client := open(t, store(t, bob, both))
	if serverErr, clientErr := shakeHands(t, node, client, "127.0.0.1:1"); serverErr != nil || clientErr != nil {
		t.Fatalf("server %v, client %v", serverErr, clientErr)
	}
	withdraw(t, a, f, serial(t, bob))
	serverErr, _ := shakeHands(t, node, client, "127.0.0.1:1")
	refusedWith(t, serverErr, "revoked")
	if n, _, _ := node.Deny(); n != 2 {
		t.Errorf("%d certificates are denied, want one by each authority", n)
	}
}

// An open connection is judged by the clock and the list as they are now, without a file being read.
func TestJudge(t *testing.T) {
	a, pair := authority(t, "cell")
	now := time.Now()
	bob := issue(t, a, RoleClient, "bob")
	f := withDeny(t, a, store(t, issue(t, a, RoleNode, "n1"), pair.Cert))
	node, err := OpenAt(f, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := parseCert(bob.Cert)
	if err != nil {
		t.Fatal(err)
	}
	conn := &Conn{proof: proof{chains: [][]*x509.Certificate{{leaf, a.cert}}, own: node.loaded.leaf}}
	if err := node.Judge(conn); err != nil {
		t.Fatal(err)
	}
	withdraw(t, a, f, leaf.SerialNumber)
	if err := node.Judge(conn); err != nil {
		t.Errorf("before the list is read: %v", err)
	}
	node.Refresh()
	if err := node.Judge(conn); UnfitReason(err) != Revoked {
		t.Errorf("revoked: %v", err)
	}
	other := &Conn{proof: proof{chains: [][]*x509.Certificate{{node.loaded.leaf, a.cert}}}}
	if err := node.Judge(other); err != nil {
		t.Errorf("one that is not on the list: %v", err)
	}
	now = leaf.NotAfter.Add(time.Second)
	if err := node.Judge(other); UnfitReason(err) != Expired {
		t.Errorf("ended: %v", err)
	}
	conn.proof.chains = [][]*x509.Certificate{{node.loaded.leaf, a.cert}}
	if err := node.Judge(conn); UnfitReason(err) != Expired {
		t.Errorf("its own has ended: %v", err)
	}
	if node.Judge(&Conn{}) == nil {
		t.Error("a connection that was never verified is let through")
	}
	if UnfitReason(node.Own()) != Expired {
		t.Errorf("own certificate: %v", node.Own())
	}
}

// What cannot be used leaves the last good list in force.
func TestStaleDenyList(t *testing.T) {
	a, pair := authority(t, "cell")
	stranger, _ := authority(t, "cell")
	f := withDeny(t, a, store(t, issue(t, a, RoleNode, "n1"), pair.Cert))
	empty, err := os.ReadFile(f.Deny)
	if err != nil {
		t.Fatal(err)
	}
	withdraw(t, a, f, big.NewInt(4711))
	good, err := os.ReadFile(f.Deny)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, f)
	theirs, _, err := stranger.Withdraw(nil, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"empty": {nil, "no list"}, "damaged": {good[:len(good)-30], "X509 CRL"},
		"trailing": {append(bytes.Clone(good), "x"...), "X509 CRL"},
		"a key":    {[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "X509 CRL"},
		"strange":  {theirs, "not signed"}, "older": {empty, "older"}, "too large": {make([]byte, maxDenyBytes+1), "larger"},
		"changes only": {deltaList(t, a), "critical"}, "flipped": {flipped(good), ""},
	} {
		replace(t, f.Deny, c.text)
		s.Refresh()
		n, _, err := s.Deny()
		refusedWith(t, err, c.says)
		if n != 1 {
			t.Errorf("%s: %d certificates are denied, want the one before", name, n)
		}
		if _, err := Open(f); err == nil && name != "older" { // it has seen no newer one
			t.Errorf("%s: a program starts with it", name)
		}
	}
	replace(t, f.Deny, good)
	s.Refresh()
	if _, _, err := s.Deny(); err != nil {
		t.Errorf("the good one is back: %v", err)
	}
}

// deltaList is a list that has only what changed since another.
func deltaList(t *testing.T, a *Authority) []byte {
	t.Helper()
	number, err := asn1.Marshal(big.NewInt(1))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(9), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: number}},
	}, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemDenyList, Bytes: der})
}

// flipped has one bit of the signed part changed.
func flipped(text []byte) []byte {
	block, _ := pem.Decode(text)
	block.Bytes[len(block.Bytes)/2] ^= 1
	return pem.EncodeToMemory(block)
}

// A list is added to and never loses anything, and its number rises.
func TestWithdrawAdds(t *testing.T) {
	a, pair := authority(t, "cell")
	var text []byte
	for i := range int64(3) {
		next, added, err := a.Withdraw(text, []*big.Int{big.NewInt(i + 1), big.NewInt(1)}, time.Now())
		if err != nil || len(added) != 1 && i > 0 {
			t.Fatalf("%d added, %v", len(added), err)
		}
		text = next
	}
	d, err := parseDenyList(text, []*x509.Certificate{a.cert})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.serials) != 3 {
		t.Errorf("%d on the list, want 3", len(d.serials))
	}
	for _, n := range d.numbers {
		if n.Int64() != 3 {
			t.Errorf("the list is number %s, want 3", n)
		}
	}
	if got, err := Withdrawn(pair.Cert, text); err != nil || !got["1"] || !got["3"] || got["4"] {
		t.Errorf("read back: %v, %v", got, err)
	}
	if _, _, err := a.Withdraw([]byte("rubbish"), nil, time.Now()); err == nil {
		t.Error("what cannot be read is thrown away")
	}
}

// A key that others may read is refused when it is read, and when it was changed to that.
func TestOpenKey(t *testing.T) {
	a, pair := authority(t, "cell")
	f := store(t, issue(t, a, RoleClient, "bob"), pair.Cert)
	s := open(t, f)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o777} {
		if err := os.Chmod(f.Key, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(f)
		refusedWith(t, err, f.Key, "chmod 600")
		s.Refresh()
		refusedWith(t, s.Stale(), f.Key, "chmod 600")
	}
	if err := os.Chmod(f.Key, 0o400); err != nil {
		t.Fatal(err)
	}
	s.Refresh()
	if _, err := Open(f); err != nil || s.Stale() != nil {
		t.Errorf("a key that only its owner reads: %v, %v", err, s.Stale())
	}
}

func TestParseSerial(t *testing.T) {
	for text, want := range map[string]string{"0xAB": "ab", "AB:CD": "abcd", "00ab": "ab"} {
		if n, err := ParseSerial(text); err != nil || SerialText(n) != want {
			t.Errorf("%s is read as %v, %v, want %s", text, n, err, want)
		}
	}
	for _, bad := range []string{"", "0x", ":", "-1", "+1", "xyz", "1 2", "12345678901234567890123456789012345678901"} {
		if n, err := ParseSerial(bad); err == nil {
			t.Errorf("%q is read as %s", bad, n)
		}
	}
}

func FuzzParseDenyList(f *testing.F) {
	a, _, err := NewAuthority("cell", time.Now())
	if err != nil {
		f.Fatal(err)
	}
	text, _, err := a.Withdraw(nil, []*big.Int{big.NewInt(1)}, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(append(text, text...))
	f.Fuzz(func(t *testing.T, text []byte) {
		if d, err := parseDenyList(text, []*x509.Certificate{a.cert}); err == nil && len(d.numbers) == 0 {
			t.Error("taken for a list of nobody's")
		}
	})
}
