package node

import (
	"log/slog"
	"sync/atomic"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// sessionChecks refuse and count what comes in the session of another class of work.
type sessionChecks struct {
	logger  *slog.Logger
	refused [wire.SessionControl + 1]atomic.Uint64 // by the session that it came in
}

// check refuses a call in the session of another class than its operation's, before anything is done for it.
// The connection stays: there is no doubt about whose call it is.
func (s *sessionChecks) check(c *mux.ServerCall) error {
	return s.count(c, c.Op().CheckSession(c.Session()))
}

// checkDeletes refuses in the session of deletes what is not only about them. Both kinds of call that may come in it
// may come in another, too: what they carry tells.
func (s *sessionChecks) checkDeletes(c *mux.ServerCall, deletes bool) error {
	if c.Session() != wire.SessionDelete || deletes {
		return nil
	}
	return s.count(c, wire.Errorf(c.Op(), wire.CodeProtocol,
		"a request of %s that is not only about deletes came in the session %s; send it in %s",
		c.Op(), wire.SessionDelete, wire.SessionControl))
}

func (s *sessionChecks) count(c *mux.ServerCall, err error) error {
	if err != nil {
		s.refused[c.Session()].Add(1)
		s.logger.Debug("call in the session of another class",
			"op", c.Op().String(), "session", c.Session().String(), "from", c.Peer().Node)
	}
	return err
}
