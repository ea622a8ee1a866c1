package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/pki/pkitest"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Who does not say in time who they are is hung up on, however little they have sent.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secure bool
		send   []byte
	}{
		"nothing":                 {true, nil},
		"first byte of TLS":       {true, []byte{wire.PreambleTLS}},
		"half a client's hello":   {true, []byte{wire.PreambleTLS, 3, 1, 2, 0, 1}},
		"nothing, plaintext":      {false, nil},
		"half a raft hello":       {false, []byte{wire.PreambleRaft, 200, 'c'}},
		"raft hello without node": {false, []byte{wire.PreambleRaft, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			l := lone(t, sourced(t, c.secure))
			nc := connect(t, l, c.send)
			if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection stays open")
			}
		})
	}
}

// connect connects to a listener and sends something.
func connect(t *testing.T, l *Transport, send []byte) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", l.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if _, err := nc.Write(send); err != nil {
		t.Fatal(err)
	}
	return nc.(*net.TCPConn)
}

// Accepted raft streams are counted until they are closed.
func TestRaftStreamsAreCounted(t *testing.T) {
	t.Parallel()
	l := lone(t, Options{})
	nc, err := net.Dial("tcp", l.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := writeStreamHello(nc, Hello{Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	stream, err := l.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	count := func() int { all, _ := l.limits.Count(); return all }
	if count() != 1 {
		t.Errorf("%d connections with an open stream, want 1", count())
	}
	stream.Close()
	if count() != 0 {
		t.Errorf("%d connections after it is closed, want 0", count())
	}
}

// A node that leaves the group loses the raft streams that it has opened, and the others keep theirs.
func TestStreamsOfWhoLeaves(t *testing.T) {
	t.Parallel()
	var members atomic.Value // []string; empty: not known
	members.Store([]string{"n1", "n2", "n3"})
	o := pkitest.New(t, "cell")
	rounds := make(chan func(), 1) // what begins the next round of judgeStreams
	l := lone(t, Options{
		Source: o.Source(pki.RoleNode, "n1"), FirstByte: patience,
		Clock: mux.Clock{Now: time.Now, AfterFunc: func(d time.Duration, f func()) func() bool {
			if d == judgeStreamsEvery {
				rounds <- f
			}
			return func() bool { return true }
		}},
		Members: func() ([]raftlog.ServerInfo, error) {
			var servers []raftlog.ServerInfo
			for _, id := range members.Load().([]string) {
				servers = append(servers, raftlog.ServerInfo{Server: raftlog.Server{ID: state.NodeID(id)}})
			}
			if servers == nil {
				return nil, errors.New("the log is not open")
			}
			return servers, nil
		},
	})

	open := func(node string) {
		addr := l.listener.Addr().String()
		tc, _, err := o.Source(pki.RoleNode, node).Client(t.Context(), connect(t, l, nil), addr, pki.ProtocolRaft)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeStreamHello(tc, Hello{Node: node}); err != nil {
			t.Fatal(err)
		}
		stream, err := l.listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stream.Close() })
	}
	open("n2")
	open("n3")
	are := func(when string, want ...string) {
		t.Helper()
		(<-rounds)()
		rounds <- <-rounds // once the next one is to begin, this one is over
		var got []string
		for _, c := range l.table.acceptedStreams() {
			got = append(got, c.who.Name)
		}
		slices.Sort(got)
		if all, _ := l.limits.Count(); !slices.Equal(got, want) || all != len(want) {
			t.Errorf("%s: streams of %v, %d connections, want of %v", when, got, all, want)
		}
	}
	are("at first", "n2", "n3")
	members.Store([]string(nil))
	are("while it is not known who is a member", "n2", "n3")
	members.Store([]string{"n1", "n3"})
	are("once n2 has left", "n3")
	l.Vouch([]string{"n3"})
	members.Store([]string{"n1"})
	are("when the cell vouches for n3", "n3")
}
