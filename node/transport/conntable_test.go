package transport

import (
	"io"
	"net"
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// fakeCounted has done what the test says.
type fakeCounted struct{ stats mux.Stats }

func (f *fakeCounted) Stats() mux.Stats { return f.stats }

// Each byte is counted once, by whoever scans the table, in the order in which they come; what a connection does once
// its peer is a node of the cell, or no longer is, goes to another group, and no total falls.
func TestConnTable(t *testing.T) {
	node := false
	s := newConnTable(func(id string) bool { return node && id == "n4" })
	totals := func(peer string, want Traffic) {
		t.Helper()
		if got := s.Totals()[ConnGroup{peer, "", DirectionIn, ProtocolFrames}]; got != want {
			t.Errorf("%s: %+v, want %+v", peer, got, want)
		}
	}
	moved := func(f *fakeCounted, in, out, stalls uint64) {
		f.stats.BytesIn, f.stats.BytesOut, f.stats.CreditStalls = in, out, stalls
	}
	a, b := &fakeCounted{}, &fakeCounted{}
	endA := s.add(a, Connection{Peer: "n4", Direction: DirectionIn, Protocol: ProtocolFrames})
	endB := s.add(b, Connection{Peer: "bob", Direction: DirectionIn, Protocol: ProtocolFrames})
	moved(a, 10, 20, 1)
	moved(b, 1, 2, 0)
	s.Scan()
	s.Scan()
	totals("client", Traffic{11, 22, 1})
	totals("n4", Traffic{})
	node = true
	moved(a, 15, 20, 3)
	s.Scan()
	totals("client", Traffic{11, 22, 1})
	totals("n4", Traffic{5, 0, 2})
	moved(a, 10, 20, 1) // looked at before, counted after
	s.Scan()
	totals("n4", Traffic{5, 0, 2})
	moved(a, 16, 21, 3)
	endA()
	endA()
	node = false
	moved(b, 2, 2, 0)
	endB()
	totals("client", Traffic{12, 22, 1})
	totals("n4", Traffic{6, 1, 2})
	if left := s.Scan(); len(left) != 0 {
		t.Errorf("%+v is left", left)
	}
	if g := s.Group(&Connection{Peer: "n9", Protocol: ProtocolRaft}); g.Peer != "unknown" {
		t.Errorf("a raft stream of no node of the cell is counted under %q", g.Peer)
	}
}

// The bytes of a raft stream are counted on either side.
func TestCountedStream(t *testing.T) {
	near, far := net.Pipe()
	l := lone(t, Options{})
	s := l.table
	one := l.listener.newStream(near, openedStream{
		peer: "n2", role: pki.RoleNode, direction: DirectionOut, kind: wire.PreambleRaft,
	})
	other := l.listener.newStream(far, openedStream{direction: DirectionIn, kind: wire.PreambleRaft})
	go func() {
		_, _ = one.Write(make([]byte, 7))
		one.Close()
	}()
	if got, err := io.ReadAll(other); err != nil || len(got) != 7 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	other.Close()
	want := map[ConnGroup]Traffic{
		{"unknown", pki.RoleNode, DirectionOut, ProtocolRaft}: {Sent: 7},
		{"unknown", "", DirectionIn, ProtocolRaft}:            {Received: 7},
	}
	for g, sum := range want {
		if got := s.Totals()[g]; got != sum {
			t.Errorf("%+v: %+v, want %+v", g, got, sum)
		}
	}
}
