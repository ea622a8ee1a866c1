package transport

import (
	"cmp"
	"net"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/transport/summed"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// judgeStreamsEvery is how long a node that has left the group may go on sending on raft streams that it
// opened before.
const judgeStreamsEvery = 5 * time.Second

// raftStream is an open raft stream. It counts the bytes that go over it, and is in the table of connections, and if it
// was accepted in the limits, until it is closed. A stream in records is a summed.Conn around it, so that what is
// counted is what goes over the network.
type raftStream struct {
	net.Conn
	openedStream
	since   time.Time
	in, out atomic.Uint64
	closed  func() // more calls do nothing
}

// openedStream says what a stream is.
type openedStream struct {
	peer      string // node ID, empty if it is not known
	role      pki.Role
	direction Direction
	kind      byte     // its preamble
	at        string   // where, for people: of a dialed stream the address, of an accepted one the node
	accepted  net.Conn // what was accepted, nil if it was dialed
	who       Caller   // of an accepted one
}

// newStream takes a stream in, until it is closed.
func (l *listener) newStream(nc net.Conn, what openedStream) net.Conn {
	s := &raftStream{Conn: nc, openedStream: what, since: l.o.Clock.Now()}
	entry := Connection{
		Peer: cmp.Or(what.peer, "unknown"), Role: what.role, Direction: what.direction, Protocol: ProtocolRaft,
	}
	if tc := certOf(nc); tc != nil {
		entry.cert = tc
		entry.end = func(*wire.Error) { tc.NetConn().Close() } // raft finds it broken, and closes it
	}
	ended := l.table.add(s, entry)
	s.closed = func() {
		ended()
		if what.accepted != nil {
			l.limits.Remove(what.accepted)
		}
	}
	if what.kind != wire.PreambleSummed {
		return s
	}
	return summed.New(s, func(err *summed.DamageError) {
		l.damaged.Add(1)
		l.o.Logger.Error("a raft stream has ended: damage on its way", "peer", what.at, "error", err)
		s.Close()
	})
}

// Read implements net.Conn.
func (s *raftStream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.in.Add(uint64(n))
	return n, err
}

// Write implements net.Conn.
func (s *raftStream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	s.out.Add(uint64(n))
	return n, err
}

// Close implements net.Conn.
func (s *raftStream) Close() error {
	err := s.Conn.Close()
	s.closed()
	return err
}

// Stats implements counted.
func (s *raftStream) Stats() mux.Stats {
	return mux.Stats{Remote: s.RemoteAddr().String(), Since: s.since, BytesIn: s.in.Load(), BytesOut: s.out.Load()}
}

// judgeStreams closes now and then the accepted raft streams of nodes that would not be admitted any more. Frames of
// such a node are another matter: its certificate is what they are taken for, before it joins and after it has left.
func (l *listener) judgeStreams() {
	for {
		select {
		case <-l.o.after(judgeStreamsEvery):
		case <-l.done:
			return
		}
		for _, s := range l.table.acceptedStreams() {
			if member, err := l.secure.isMember(s.who.Name); err == nil && !member {
				l.o.Logger.Warn("raft stream closed: its node has left the group",
					"remote", s.accepted.RemoteAddr().String(), "who", s.who.String())
				s.Close()
			}
		}
	}
}
