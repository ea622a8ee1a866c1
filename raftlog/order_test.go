package raftlog

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
)

// TestNewLeaderAnnouncesItself: nothing is proposed, and yet the leader's own first entry, which no
// state machine sees, is passed on every node.
func TestNewLeaderAnnouncesItself(t *testing.T) {
	c := newCell(t, 3, nil)
	c.campaign()
	const noop = 2 // after the configuration
	for id, g := range c.groups {
		if err := g.WaitApplied(testContext(t), noop); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
}

// TestDamagedSnapshotChangesNothing: what is refused must leave the state as it was.
func TestDamagedSnapshotChangesNothing(t *testing.T) {
	c := newCell(t, 1, nil)
	g := c.leader()
	fill(t, g, "a", 3)
	view, chain, before := g.View(), g.Chain(), dump(t, g)
	damaged := bytes.Clone(before)
	damaged[len(damaged)-1] ^= 1
	if err := g.machine.Restore(io.NopCloser(bytes.NewReader(damaged))); err == nil {
		t.Fatal("a damaged snapshot was restored")
	}
	if g.View() != view || g.Chain() != chain {
		t.Error("a snapshot that was refused has changed the state")
	}
	foreign := newMachine("kiel", nil)
	foreign.st.Apply(1, 1, []state.Command{&state.Genesis{Cell: "kiel"}})
	foreign.chain.Index = 1
	s, err := foreign.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := s.(*snapshot).write(&buf); err != nil {
		t.Fatal(err)
	}
	if err := g.machine.Restore(io.NopCloser(&buf)); err == nil || !strings.Contains(err.Error(), "kiel") {
		t.Errorf("snapshot of another cell: %v", err)
	}
}

func TestChangedIsClosedByEveryApply(t *testing.T) {
	c := newCell(t, 1, nil)
	g := c.leader()
	for range 5 {
		changed, old := g.Changed(), g.View()
		if again := g.View(); again != old {
			t.Error("the view was made anew though nothing was applied")
		}
		_, index, err := g.Propose(testContext(t), join("x"))
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Error("changed is not closed by an apply")
		}
		if got := g.View().Applied; got < index {
			t.Errorf("the view is that of %d after %d was acknowledged", got, index)
		}
		if old.Applied >= index {
			t.Error("an old view has changed")
		}
	}
}

// TestChainDependsOnAllOfIt: index, term, bytes and order.
func TestChainDependsOnAllOfIt(t *testing.T) {
	base := ChainPoint{}.next(1, 1, []byte("a"))
	same := ChainPoint{}.next(1, 1, []byte("a"))
	if base != same {
		t.Fatal("the chain is not a function")
	}
	others := map[string]ChainPoint{
		"index":    ChainPoint{}.next(2, 1, []byte("a")),
		"term":     ChainPoint{}.next(1, 2, []byte("a")),
		"bytes":    ChainPoint{}.next(1, 1, []byte("b")),
		"previous": base.next(1, 1, []byte("a")),
	}
	for what, p := range others {
		if p.Hash == base.Hash {
			t.Errorf("the chain does not depend on the %s", what)
		}
	}
}

func TestChainPoints(t *testing.T) {
	ps := chainPoints{{}}
	for i := state.Index(1); i <= 3*maxPoints*pointEvery/2; i++ {
		ps = ps.add(ChainPoint{Index: i})
	}
	if len(ps) != maxPoints {
		t.Fatalf("%d points, want %d", len(ps), maxPoints)
	}
	third := ps[2].Index
	for _, c := range []struct {
		index, first, want state.Index
		ok                 bool
	}{
		{third, 1, third, true},
		{third + 1, 1, third, true},
		{third - 1, 1, ps[1].Index, true},
		{third + 1, third + 1, third, true},
		{third + 1, third + 2, third, false},
		{ps[0].Index - 1, 1, 0, false},
	} {
		p, ok := ps.before(c.index, c.first)
		if ok != c.ok || (ok && p.Index != c.want) {
			t.Errorf("before(%d, %d) is %d, %t; want %d, %t", c.index, c.first, p.Index, ok, c.want, c.ok)
		}
	}
}
