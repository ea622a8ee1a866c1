package node

import (
	"slices"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
)

// Any node of a cell says whether others could be stopped, as its leader knows it: with one that is down, no second may
// go, and when it is back one may.
func TestOKToStop(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	ctx := testContext(t)
	ask := func(nodes ...string) wire.StopReply {
		t.Helper()
		s, err := c.client.Stopping(ctx, wire.StopRequest{Nodes: nodes})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	loc := c.sealed(pattern(1, 1000))
	leader := c.leader()
	first, second := others(leader)[0], others(leader)[1]
	if s := ask(first); !s.Safe || s.VotesLeft != 2 || s.VotesNeeded != 2 || len(s.Why) != 0 {
		t.Errorf("all nodes are up: %+v", s)
	}
	if s := ask(second, first, first, leader); s.Safe || s.Unreadable != 1 || len(s.Extents) != 1 ||
		s.Extents[0].Extent != loc.Extent || !slices.Equal(s.Nodes, []string{"n1", "n2", "n3"}) {
		t.Errorf("all nodes at once: %+v", s)
	}
	c.kill(first)
	if s := ask(second); s.Safe || s.VotesLeft != 1 {
		t.Errorf("%s has just died: %+v", first, s)
	}
	c.down(first)
	if s := ask(second); s.Safe || s.VotesLeft != 1 || !strings.Contains(strings.Join(s.Why, " "), "no leader") {
		t.Errorf("%s is down: %+v", first, s)
	}
	if s := ask(first); !s.Safe {
		t.Errorf("%s is down, and is to stay so: %+v", first, s)
	}
	c.start(first)
	c.ready(first)
	c.up(3)
	if s := ask(second); !s.Safe {
		t.Errorf("%s is back: %+v", first, s)
	}
	for _, nodes := range [][]string{nil, {"n9"}, make([]string, wire.MaxStopNodes+1)} {
		want := wire.CodeInvalid
		if len(nodes) == 1 {
			want = wire.CodeNotFound
		}
		if _, err := c.client.Stopping(ctx, wire.StopRequest{Nodes: nodes}); wire.CodeOf(err) != want {
			t.Errorf("%d nodes: %v, want %v", len(nodes), err, want)
		}
	}
}
