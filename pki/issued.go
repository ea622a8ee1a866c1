package pki

import (
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Issued is what people want to know about a certificate.
type Issued struct {
	Identity
	Authority bool // that of an authority; then only Cluster is set of Identity
	Serial    *big.Int
	From      time.Time
	Until     time.Time
}

// Read says what a certificate is, the first in a PEM text.
func Read(text []byte) (Issued, error) {
	cert, err := parseCert(text)
	if err != nil {
		return Issued{}, err
	}
	out := Issued{Serial: cert.SerialNumber, From: cert.NotBefore, Until: cert.NotAfter}
	if cert.IsCA {
		out.Authority, out.Cluster = true, strings.Join(cert.Subject.Organization, ",")
		return out, nil
	}
	out.Identity, err = IdentityOf(cert)
	return out, err
}

// Signed reports whether this authority has signed a certificate, the first in a PEM text.
func (a *Authority) Signed(text []byte) error {
	cert, err := parseCert(text)
	if err != nil {
		return err
	}
	if err := cert.CheckSignatureFrom(a.cert); err != nil {
		return fmt.Errorf("the certificate of %q is not from this authority: %w", cert.Subject.CommonName, err)
	}
	return nil
}

// Withdrawn are the serial numbers in a file of deny lists that the authority with this certificate, as PEM, has
// withdrawn.
func Withdrawn(authority, lists []byte) (map[string]bool, error) {
	cert, err := parseCert(authority)
	if err != nil {
		return nil, err
	}
	all, err := parseLists(lists)
	if err != nil {
		return nil, err
	}
	serials := map[string]bool{}
	for _, list := range all {
		if list.CheckSignatureFrom(cert) != nil {
			continue // of another authority
		}
		for _, e := range list.RevokedCertificateEntries {
			serials[SerialText(e.SerialNumber)] = true
		}
	}
	return serials, nil
}

// maxSerialDigits is what RFC 5280 (4.1.2.2) allows, in hexadecimal digits.
const maxSerialDigits = 40

// SerialText is how people read a serial number: in hexadecimal digits.
func SerialText(serial *big.Int) string { return fmt.Sprintf("%x", serial) }

// ParseSerial reads what SerialText writes, and what other programs do: with colons, or 0x before it.
func ParseSerial(text string) (*big.Int, error) {
	digits := strings.TrimPrefix(strings.ToLower(strings.ReplaceAll(text, ":", "")), "0x")
	n, ok := new(big.Int).SetString(digits, 16)
	if ok && len(digits) <= maxSerialDigits && digits[0] != '-' && digits[0] != '+' {
		return n, nil
	}
	return nil, fmt.Errorf("%q is not a serial number: want up to %d hexadecimal digits", text, maxSerialDigits)
}
