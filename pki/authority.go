package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"time"
)

const (
	authorityYears = 10
	// clockSkew is how far another machine's clock may be behind that of the one that made a
	// certificate.
	clockSkew = time.Hour

	serialBits = 127 // positive, and within the 20 bytes that RFC 5280 (4.1.2.2) allows
	maxHosts   = 64

	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// Pair is a certificate and its key, each as PEM.
type Pair struct{ Cert, Key []byte }

// Authority signs the certificates of one cluster.
type Authority struct {
	Cluster string

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Request says what certificate is wanted.
type Request struct {
	Role   Role
	Name   string
	Hosts  []string // of a node: host names and IP addresses that others dial
	From   time.Time
	Expiry time.Time // not after that of the authority
}

// NewAuthority makes an authority, valid from now on, and the pair to keep it as.
func NewAuthority(cluster string, now time.Time) (*Authority, Pair, error) {
	if err := validName("cluster", cluster); err != nil {
		return nil, Pair{}, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "datanode authority", Organization: []string{cluster}},
		NotBefore: now.Add(-clockSkew), NotAfter: now.AddDate(authorityYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	pair, err := sign(template, nil, nil)
	if err != nil {
		return nil, Pair{}, err
	}
	a, err := ParseAuthority(pair)
	return a, pair, err
}

// ParseAuthority reads the pair of an authority.
func ParseAuthority(p Pair) (*Authority, error) {
	cert, err := parseCert(p.Cert)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(p.Key)
	if block == nil || block.Type != pemKey {
		return nil, fmt.Errorf("the authority's key is not PEM of a %s", pemKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	switch {
	case !ok || !key.PublicKey.Equal(cert.PublicKey):
		return nil, errors.New("the authority's key is not that of its certificate")
	case !cert.IsCA || len(cert.Subject.Organization) != 1:
		return nil, errors.New("the certificate is not that of an authority made by datanode cert init")
	}
	a := &Authority{Cluster: cert.Subject.Organization[0], cert: cert, key: key}
	return a, validName("cluster", a.Cluster)
}

// Issue makes a certificate. A node's also serves; the others only dial.
func (a *Authority) Issue(r Request) (Pair, error) {
	id := Identity{Cluster: a.Cluster, Role: r.Role, Name: r.Name}
	if err := id.valid(); err != nil {
		return Pair{}, err
	}
	if r.Expiry.After(a.cert.NotAfter) {
		return Pair{}, fmt.Errorf("the authority itself ends on %s, before %s", a.cert.NotAfter.Format(time.DateOnly),
			r.Expiry.Format(time.DateOnly))
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: id.String(), Organization: []string{a.Cluster}},
		URIs:    []*url.URL{id.URI()}, NotBefore: r.From.Add(-clockSkew), NotAfter: r.Expiry,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if r.Role == RoleNode {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if err := addHosts(template, r); err != nil {
		return Pair{}, err
	}
	return sign(template, a.cert, a.key)
}

// HostsOf are the hosts that a certificate, as PEM, is for.
func HostsOf(text []byte) ([]string, error) {
	cert, err := parseCert(text)
	if err != nil {
		return nil, err
	}
	return hostsOf(cert), nil
}

func hostsOf(cert *x509.Certificate) []string {
	hosts := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

func addHosts(template *x509.Certificate, r Request) error {
	switch {
	case (len(r.Hosts) > 0) != (r.Role == RoleNode):
		return fmt.Errorf("%d hosts for %s %s: a node has some, others none", len(r.Hosts), r.Role, r.Name)
	case len(r.Hosts) > maxHosts:
		return fmt.Errorf("%d hosts, want at most %d", len(r.Hosts), maxHosts)
	}
	for _, h := range r.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		if err := validName("host", h); err != nil {
			return fmt.Errorf("%w; without a port", err)
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	return nil
}

// sign makes a key and has it signed by parent, or by itself.
func sign(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits)); err != nil {
		return Pair{}, err
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return Pair{}, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: encoded}),
	}, nil
}

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemCertificate {
		return nil, fmt.Errorf("not PEM of a %s", pemCertificate)
	}
	return x509.ParseCertificate(block.Bytes)
}
