package node

import (
	"sync/atomic"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// sessionCounts counts what came in the session of another class of work, by the session that it came in.
type sessionCounts [wire.SessionControl + 1]atomic.Uint64

// checkSession refuses a call in the session of another class than its operation's, before anything is done for it.
// The connection stays: there is no doubt about whose call it is.
func (n *Node) checkSession(c *mux.ServerCall) error {
	return n.countSession(c, c.Op().CheckSession(c.Session()))
}

// checkDeletes refuses in the session of deletes what is not only about them. Both kinds of call that may come in it
// may come in another, too: what they carry tells.
func (n *Node) checkDeletes(c *mux.ServerCall, deletes bool) error {
	if c.Session() != wire.SessionDelete || deletes {
		return nil
	}
	return n.countSession(c, wire.Errorf(c.Op(), wire.CodeProtocol,
		"a request of %s that is not only about deletes came in the session %s; send it in %s",
		c.Op(), wire.SessionDelete, wire.SessionControl))
}

func (n *Node) countSession(c *mux.ServerCall, err error) error {
	if err != nil {
		n.sessionsRefused[c.Session()].Add(1)
		n.logger.Debug("call in the session of another class",
			"op", c.Op().String(), "session", c.Session().String(), "from", c.Peer().Node)
	}
	return err
}
