package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

const (
	pemDenyList = "X509 CRL"
	// maxDenyBytes bounds a file of deny lists: about 300,000 certificates.
	maxDenyBytes = 16 << 20
)

// denied names a certificate: who signed it, by the hash of that key, and its serial number. Names of authorities
// do not tell two of them apart, and a serial number is one authority's own.
type denied struct {
	signer [sha256.Size]byte
	serial string
}

func deniedBy(authority *x509.Certificate, serial *big.Int) denied {
	return denied{sha256.Sum256(authority.RawSubjectPublicKeyInfo), string(serial.Bytes())}
}

// denyList is what the lists in a file say: the standard ones of X.509 (RFC 5280, section 5), one for each authority
// that has withdrawn anything. The zero value withdraws nothing. It is never changed.
type denyList struct {
	serials map[denied]struct{}
	numbers map[[sha256.Size]byte]*big.Int // of the list of each authority
	due     time.Time                      // when the first of the lists should have been replaced; zero: never
}

// holds reports whether one of the certificates of a chain, the root left out, is withdrawn.
func (d *denyList) holds(chain []*x509.Certificate) *x509.Certificate {
	for i := 0; i+1 < len(chain); i++ {
		if _, ok := d.serials[deniedBy(chain[i+1], chain[i].SerialNumber)]; ok {
			return chain[i]
		}
	}
	return nil
}

// olderThan reports whether a list would give back what a newer one of the same authority has withdrawn.
func (d *denyList) olderThan(had *denyList) bool {
	for signer, number := range had.numbers {
		if now := d.numbers[signer]; now != nil && now.Cmp(number) < 0 {
			return true
		}
	}
	return false
}

// parseDenyList reads a file of lists. Each must be signed by one of the authorities.
func parseDenyList(text []byte, authorities []*x509.Certificate) (*denyList, error) {
	lists, err := parseLists(text)
	if err != nil {
		return nil, err
	}
	d := &denyList{serials: map[denied]struct{}{}, numbers: map[[sha256.Size]byte]*big.Int{}}
	for _, list := range lists {
		i := slices.IndexFunc(authorities, func(a *x509.Certificate) bool { return list.CheckSignatureFrom(a) == nil })
		if i < 0 {
			return nil, fmt.Errorf("the list of %q is not signed by the authority; make one with datanode cert revoke",
				list.Issuer.CommonName)
		}
		for _, e := range list.RevokedCertificateEntries {
			d.serials[deniedBy(authorities[i], e.SerialNumber)] = struct{}{}
		}
		signer := sha256.Sum256(authorities[i].RawSubjectPublicKeyInfo)
		if had := d.numbers[signer]; list.Number != nil && (had == nil || had.Cmp(list.Number) < 0) {
			d.numbers[signer] = list.Number
		}
		if !list.NextUpdate.IsZero() && (d.due.IsZero() || list.NextUpdate.Before(d.due)) {
			d.due = list.NextUpdate
		}
	}
	return d, nil
}

// parseLists reads the blocks of a file. Anything else in it is an error: a list that is taken for none would let
// everybody back in.
func parseLists(text []byte) ([]*x509.RevocationList, error) {
	var lists []*x509.RevocationList
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != pemDenyList {
			return nil, fmt.Errorf("not PEM of an %s", pemDenyList)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		for _, e := range list.Extensions {
			if e.Critical { // such as of a list of the changes only, or of some kinds of certificates
				return nil, fmt.Errorf("the list of %q has the critical extension %s, want a plain and complete list",
					list.Issuer.CommonName, e.Id)
			}
		}
		lists, rest = append(lists, list), after
	}
	if len(lists) == 0 {
		return nil, errors.New("no list in it")
	}
	return lists, nil
}

// Withdraw makes the deny list that has the certificates of these serial numbers besides those in old, which is what
// the file holds now, and may be empty. Lists of other authorities in it are kept. added are those not in it before.
func (a *Authority) Withdraw(old []byte, serials []*big.Int, now time.Time) (text []byte, added []*big.Int, err error) {
	template := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now,
		// It is replaced when there is something new, not after a time: the nodes go on using it.
		NextUpdate: a.cert.NotAfter,
	}
	if len(bytes.TrimSpace(old)) > 0 {
		lists, err := parseLists(old)
		if err != nil {
			return nil, nil, err
		}
		for _, list := range lists {
			if list.CheckSignatureFrom(a.cert) != nil {
				text = append(text, pem.EncodeToMemory(&pem.Block{Type: pemDenyList, Bytes: list.Raw})...)
				continue
			}
			if list.Number != nil && list.Number.Cmp(template.Number) >= 0 {
				template.Number = new(big.Int).Add(list.Number, big.NewInt(1))
			}
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
				list.RevokedCertificateEntries...)
		}
	}
	for _, serial := range serials {
		has := func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(serial) == 0 }
		if slices.ContainsFunc(template.RevokedCertificateEntries, has) {
			continue
		}
		added = append(added, serial)
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		return nil, nil, err
	}
	return append(text, pem.EncodeToMemory(&pem.Block{Type: pemDenyList, Bytes: der})...), added, nil
}
