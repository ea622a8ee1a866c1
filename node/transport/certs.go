package transport

import (
	"context"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	// judgeCertsEvery is how long an open connection may outlive its certificate, or the news that it is revoked.
	judgeCertsEvery = time.Second
	// lastWords is how long a peer that is shut out has to read why.
	lastWords = 2 * time.Second
)

// RejectedCert is a certificate that is not good any more, and where that was found. The values are labels of a metric.
type RejectedCert struct {
	Why   pki.Reason
	Where string
}

const (
	AtHandshake = "handshake"
	OnOpen      = "open" // on a connection that had been good
)

// allRejected are the labels, so that each is there from the start.
func allRejected() []RejectedCert {
	return []RejectedCert{
		{pki.Revoked, AtHandshake}, {pki.Revoked, OnOpen},
		{pki.Expired, AtHandshake}, {pki.Expired, OnOpen},
	}
}

// countRejected counts an error that is about a certificate that was good once.
func (s *security) countRejected(err error, where string) {
	why := pki.UnfitReason(err)
	if why == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected[RejectedCert{why, where}]++
}

// rejectedCerts are for the metrics.
func (s *security) rejectedCerts() map[RejectedCert]uint64 {
	counts := map[RejectedCert]uint64{}
	for _, u := range allRejected() {
		counts[u] = 0
	}
	if s == nil {
		return counts
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for u, n := range s.rejected {
		counts[u] = n
	}
	return counts
}

// logStale logs, once each, that files have changed and cannot be used.
func (s *security) logStale() {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	_, _, stale := s.source.Deny()
	cert, deny := text(s.source.Stale()), text(stale)
	s.mu.Lock()
	defer s.mu.Unlock()
	if cert != "" && cert != s.stale {
		s.logger.Error("the certificate has changed and cannot be used; the one before stays in use", "error", cert)
	}
	if deny != "" && deny != s.staleDeny {
		s.logger.Error("the deny list has changed and cannot be used; the one before stays in force", "error", deny)
	}
	s.stale, s.staleDeny = cert, deny
}

// judgeCerts ends the open connections whose certificates are not good any more: calls, puts and raft streams, accepted
// and dialed. Nothing else would: a certificate is looked at in the handshake only, and connections last for months.
func (t *Transport) judgeCerts() {
	for {
		select {
		case <-t.o.after(judgeCertsEvery):
		case <-t.ctx.Done():
			return
		}
		t.secure.source.Refresh()
		t.secure.logStale()
		for _, c := range t.table.rejected(t.secure.source.Judge) {
			t.secure.countRejected(c.err, OnOpen)
			t.o.Logger.Warn("connection ended for its certificate", "peer", c.Peer, "role", string(c.Role),
				"direction", string(c.Direction), "protocol", string(c.Protocol), "remote", c.remote, "error", c.err)
			t.wg.Go(func() { c.end(wire.Errorf(0, wire.CodeDenied, "%v", c.err)) })
		}
	}
}

// rejectedConn is a connection that must end.
type rejectedConn struct {
	Connection
	remote string
	err    error // why
}

// rejected are the open connections whose certificates judge rejects, each once.
func (t *ConnTable) rejected(judge func(*pki.Conn) error) (found []rejectedConn) {
	t.mu.Lock()
	open := slices.Collect(maps.Values(t.open))
	t.mu.Unlock()
	for _, entry := range open { // without the lock: judge may wait for files that are being read
		if entry.cert == nil {
			continue
		}
		err := judge(entry.cert)
		t.mu.Lock()
		if err != nil && !entry.ending {
			entry.ending = true
			found = append(found, rejectedConn{entry.Connection, entry.cert.RemoteAddr().String(), err})
		}
		t.mu.Unlock()
	}
	return found
}

// certOf is what shows the certificate of a connection, nil in plaintext.
func certOf(nc net.Conn) *pki.Conn {
	tc, _ := nc.(*pki.Conn)
	return tc
}

// expel is how an accepted connection ends for its certificate.
func (t *Transport) expel(conn *mux.Conn) func(*wire.Error) {
	return func(why *wire.Error) {
		ctx, cancel := context.WithTimeout(t.ctx, lastWords)
		defer cancel()
		conn.Expel(ctx, why)
	}
}
