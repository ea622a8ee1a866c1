package raftlog

import (
	"fmt"
	"sync"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
)

func TestEachProposerGetsItsOwnResults(t *testing.T) {
	c := newCell(t, 3, nil)
	g := c.leader()
	const proposers, rounds = 16, 30
	var mu sync.Mutex
	entries := make(map[state.Index]int)
	var wg sync.WaitGroup
	for p := range proposers {
		wg.Go(func() {
			for r := range rounds {
				name := fmt.Sprintf("p%d-%d", p, r)
				results, index, err := g.Propose(testContext(t),
					&state.OpenSession{Client: name + "-a"}, join(name), &state.OpenSession{Client: name + "-b"})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				checkOwn(t, g.View(), name, index, results)
				mu.Lock()
				entries[index]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(entries) >= proposers*rounds/2 {
		t.Errorf("%d proposals took %d entries: they were not grouped", proposers*rounds, len(entries))
	}
	t.Logf("%d proposals in %d entries", proposers*rounds, len(entries))
	c.settle()
	c.checkEqual()
}

// checkOwn compares results with what the proposer asked for.
func checkOwn(t *testing.T, v *state.View, name string, index state.Index, results []state.Result) {
	t.Helper()
	if len(results) != 3 {
		t.Errorf("%s: %d results, want 3", name, len(results))
		return
	}
	a, b := state.OpID(results[0].Session), state.OpID(results[2].Session)
	if a.Index() != index || b.Index() != index || b.Place() != a.Place()+2 {
		t.Errorf("%s: sessions %s and %s, want places in a row of entry %d", name, a, b, index)
	}
	if v.Node(state.NodeID(name)) == nil {
		t.Errorf("%s: not in the state after it was acknowledged", name)
	}
	clients := make(map[state.SessionID]string)
	_ = v.Dump(state.Records{
		Node: func(*state.Node) error { return nil }, Extent: func(*state.Extent) error { return nil },
		Op: func(*state.Op) error { return nil }, Policy: func(*state.LoadPolicy) error { return nil },
		Session: func(s *state.Session) error { clients[s.ID] = s.Client; return nil },
		Holes:   func(*state.Holes) error { return nil },
	})
	if got := clients[results[0].Session]; got != name+"-a" {
		t.Errorf("%s: got the session of %q", name, got)
	}
}
