package node

import (
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/datanode/datanode/wire"
)

// judgeStreamsEvery is how long a node that has left the group may go on sending on raft streams that it
// opened before.
const judgeStreamsEvery = 5 * time.Second

// raftConn is an accepted raft stream, counted until it is closed.
type raftConn struct {
	net.Conn
	who    caller
	raw    net.Conn // what was accepted
	forget func(*raftConn)
}

// newStream is a stream that is open.
func (l *listener) newStream(greeted, raw net.Conn, who caller, node string, kind byte) *raftConn {
	c := &raftConn{Conn: l.stock.stream(greeted, node, who.Role, directionIn), who: who, raw: raw}
	if kind == wire.PreambleSummed {
		c.Conn = l.summed(c.Conn, node)
	}
	c.forget = func(c *raftConn) {
		l.streams.remove(c)
		l.census.remove(c.raw)
	}
	l.streams.add(c)
	return c
}

func (c *raftConn) Close() error {
	c.forget(c)
	return c.Conn.Close()
}

// streams are the raft streams that are open.
type streams struct {
	mu   sync.Mutex
	open map[*raftConn]struct{} // Guarded by mu.
}

func newStreams() *streams { return &streams{open: map[*raftConn]struct{}{}} }

func (s *streams) add(c *raftConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
}

func (s *streams) remove(c *raftConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *streams) all() []*raftConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.open))
}

// judgeStreams closes now and then the raft streams of nodes that would not be let in any more. Frames of such
// a node are another matter: its certificate is what they are taken for, before it joins and after it has left.
func (l *listener) judgeStreams() {
	for {
		select {
		case <-l.pause(judgeStreamsEvery):
		case <-l.done:
			return
		}
		for _, c := range l.streams.all() {
			if member, err := l.secure.isMember(c.who.Name); err == nil && !member {
				l.logger.Warn("raft stream closed: its node has left the group", "remote", c.raw.RemoteAddr().String(), "who", c.who.String())
				c.Close()
			}
		}
	}
}
