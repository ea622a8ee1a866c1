package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Reason is why a certificate is not, or no longer, accepted. The values are labels of a metric.
type Reason string

// The reasons.
const (
	Revoked Reason = "revoked"
	Expired Reason = "expired"
)

// Unfit is the error about a certificate that was good once.
type Unfit struct {
	Reason Reason
	Who    Identity
	Serial string
	Until  time.Time // when it ended, or would have
}

func (u *Unfit) Error() string {
	if u.Reason == Revoked {
		return fmt.Sprintf("the certificate of %s, serial %s, is revoked; ask whoever keeps the authority for a new one",
			u.Who, u.Serial)
	}
	return fmt.Sprintf(
		"the certificate of %s, serial %s, has ended at %s; make a new one with datanode cert %s %s --renew",
		u.Who, u.Serial, u.Until.UTC().Format(time.RFC3339), u.Who.Role, u.Who.Name)
}

func unfit(why Reason, cert *x509.Certificate) *Unfit {
	who, err := IdentityOf(cert)
	if err != nil { // of an authority between
		who = Identity{Name: cert.Subject.CommonName}
	}
	return &Unfit{Reason: why, Who: who, Serial: SerialText(cert.SerialNumber), Until: cert.NotAfter}
}

// UnfitReason is why an error of a handshake says that a certificate was good once, empty for all other errors.
func UnfitReason(err error) Reason {
	var u *Unfit
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &u):
		return u.Reason
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired
	}
	return ""
}

// UnfitNode reports whether an error of a handshake is about a node's certificate that was good once.
func UnfitNode(err error) bool {
	var u *Unfit
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &u):
		return u.Who.Role == RoleNode
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		who, err := IdentityOf(invalid.Cert)
		return err == nil && who.Role == RoleNode
	}
	return false
}

// proof is what a connection rests on: certificates that were good when it began.
type proof struct {
	chains [][]*x509.Certificate // each from the peer's own to an authority
	own    *x509.Certificate     // of this side
}

func newProof(state *tls.ConnectionState, own *x509.Certificate) proof {
	return proof{chains: state.VerifiedChains, own: own}
}

// Judge reports whether a connection that is open may go on: a connection ends when one of the certificates that it
// began with does, and when one of the peer's is withdrawn. The error is an *Unfit. It reads no file: see Refresh.
func (s *Source) Judge(c *Conn) error {
	return s.judge(c.proof)
}

// JudgeState is Judge for a connection that something else has made with HTTPConfig.
func (s *Source) JudgeState(state *tls.ConnectionState) error {
	return s.judge(newProof(state, nil))
}

func (s *Source) judge(p proof) error {
	now := s.now()
	if p.own != nil && now.After(p.own.NotAfter) {
		return unfit(Expired, p.own)
	}
	s.mu.Lock()
	deny := s.deny.list
	s.mu.Unlock()
	return p.judge(deny, now)
}

// judge checks the peer's certificates by a deny list and the time. A peer whose certificates lead to several
// authorities is accepted as long as one of the chains is good; one that is revoked is revoked on all.
func (p proof) judge(deny *denyList, now time.Time) error {
	var ended *x509.Certificate
	open := false
	for _, chain := range p.chains {
		if cert := deny.holds(chain); cert != nil {
			return unfit(Revoked, cert)
		}
		good := true
		for _, cert := range chain {
			if now.After(cert.NotAfter) {
				ended, good = cert, false
				break
			}
		}
		open = open || good
	}
	switch {
	case open:
		return nil
	case ended != nil:
		return unfit(Expired, ended)
	}
	return errors.New("the certificate of the peer was never verified")
}
