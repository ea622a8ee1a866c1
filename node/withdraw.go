package node

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
	// judgeConnsEvery is how long an open connection may outlive its certificate, or the news that it is revoked.
	judgeConnsEvery = time.Second
	// lastWords is how long a peer that is shut out has to read why.
	lastWords = 2 * time.Second
)

// unfit is a certificate that is not good any more, and where that was found. The values are labels of a metric.
type unfit struct {
	why   pki.Reason
	where string
}

const (
	atHandshake = "handshake"
	onOpen      = "open" // on a connection that had been good
)

// allUnfit are the labels, so that each is there from the start.
func allUnfit() []unfit {
	return []unfit{{pki.Revoked, atHandshake}, {pki.Revoked, onOpen}, {pki.Expired, atHandshake}, {pki.Expired, onOpen}}
}

// countUnfit counts an error that is about a certificate that was good once.
func (s *security) countUnfit(err error, where string) {
	why := pki.UnfitReason(err)
	if why == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[unfit{why, where}]++
}

// unfitCounts are for the metrics.
func (s *security) unfitCounts() map[unfit]uint64 {
	counts := map[unfit]uint64{}
	for _, u := range allUnfit() {
		counts[u] = 0
	}
	if s == nil {
		return counts
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for u, n := range s.refused {
		counts[u] = n
	}
	return counts
}

// tellStale logs, once each, that files have changed and cannot be used.
func (s *security) tellStale() {
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

// judgeConns ends the open connections whose certificates are not good any more: calls, puts and raft streams, accepted
// and dialed. Nothing else would: a certificate is looked at in the handshake only, and connections last for months.
func (n *Node) judgeConns(ctx context.Context) {
	if n.secure == nil {
		return
	}
	for {
		select {
		case <-n.after(judgeConnsEvery):
		case <-ctx.Done():
			return
		}
		n.secure.source.Refresh()
		n.secure.tellStale()
		for _, c := range n.stock.unfit(n.secure.source.Judge) {
			n.secure.countUnfit(c.err, onOpen)
			n.logger.Warn("connection ended for its certificate", "peer", c.peer, "role", string(c.role), "direction", string(c.direction),
				"protocol", string(c.protocol), "remote", c.remote, "error", c.err)
			n.wg.Go(func() { c.end(wire.Errorf(0, wire.CodeDenied, "%v", c.err)) })
		}
	}
}

// doomed is a connection that must end.
type doomed struct {
	connection
	remote string
	err    error // why
}

// unfit are the open connections that judge says no to, each once.
func (s *stock) unfit(judge func(*pki.Conn) error) (found []doomed) {
	s.mu.Lock()
	open := slices.Collect(maps.Values(s.open))
	s.mu.Unlock()
	for _, entry := range open { // without the lock: judge may wait for files that are being read
		if entry.cert == nil {
			continue
		}
		err := judge(entry.cert)
		s.mu.Lock()
		if err != nil && !entry.ending {
			entry.ending = true
			found = append(found, doomed{entry.connection, entry.cert.RemoteAddr().String(), err})
		}
		s.mu.Unlock()
	}
	return found
}

// certOf is what tells about the certificate of a connection, nil in plaintext.
func certOf(nc net.Conn) *pki.Conn {
	tc, _ := nc.(*pki.Conn)
	return tc
}

// expel is how an accepted connection ends for its certificate.
func (n *Node) expel(conn *mux.Conn) func(*wire.Error) {
	return func(why *wire.Error) {
		ctx, cancel := context.WithTimeout(n.ctx, lastWords)
		defer cancel()
		conn.Expel(ctx, why)
	}
}
