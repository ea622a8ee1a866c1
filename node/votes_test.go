package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

// Whose vote goes to whom. Nodes are up from the moment on at which their line stands.
func TestVotesOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, lines, want string }{
		{"nobody is down", "join n4; clock 60s", "none, n4 could, 3"},
		{"one is down, and nobody could take its vote", "clock 60s; down n2; clock 60s", "none, none could, 3"},
		{"one is down", "join n4; clock 60s; down n2; clock 3s", "n2, n4 could, 3"},
		{"one is only started anew", "join n4; clock 60s; down n2; clock 2s", "none, n4 could, 3"},
		{"the other comes and goes", "join n4; clock 60s; down n2; down n4; clock 60s; up n4; clock 5s", "none, n4 could, 3"},
		{"it stays", "join n4; clock 60s; down n2; down n4; clock 60s; up n4; clock 8s", "n2, n4 could, 3"},
		{"the one that is up longer", "join n4; clock 1s; join n5; clock 60s; down n2; down n4; up n4; clock 60s",
			"n2, n5 could, 3"},
		{"none that takes nothing", "join n4; room n4 free=0 total=9 refuses=full; clock 60s; down n2; clock 60s",
			"none, none could, 3"},
	} {
		cell := statetest.New()
		for _, line := range strings.Split("join n1 n2 n3 voter; "+c.lines, ";") {
			cell.Run(strings.TrimSpace(line))
		}
		lost, heir, votes := votesOf(atTime(&cell.State.View, cell.Now), (*state.Node).Takes, 8*time.Second)
		name := func(n *state.Node) string {
			if n == nil {
				return "none"
			}
			return string(n.ID)
		}
		if got := fmt.Sprintf("%s, %s could, %d", name(lost), name(heir), votes); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A node with a vote is lost while another could have it. The vote moves, so that the next loss does not stop the cell;
// those that come back have none, and nothing moves any more.
func TestVoteOfLostNodeMoves(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	leader := c.leader()
	first, second := others(leader)[0], others(leader)[1]
	voters := func(n *Node) (ids []string) {
		servers, err := n.log.Servers()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range servers {
			if node := n.log.View().Node(s.ID); s.Voter && node.Voter {
				ids = append(ids, string(s.ID))
			}
		}
		slices.Sort(ids)
		return ids
	}
	have := func(ids ...string) func(*Node) bool {
		slices.Sort(ids)
		return func(n *Node) bool { return slices.Equal(voters(n), ids) }
	}
	c.kill(first)
	c.until("n4 has the vote", have(leader, second, "n4"))
	c.kill(second)
	loc := c.put(pattern(1, 1000)) // two of three votes
	c.start(first)
	c.ready(first)
	c.until("the first to come back has the vote of the second", have(leader, first, "n4"))
	c.start(second)
	c.ready(second)
	c.up(4)
	if got := voters(c.any()); len(got) != 3 || slices.Contains(got, second) {
		t.Errorf("%v have votes when all are back", got)
	}
	c.whole()
	c.everyReplica(map[wire.Locator][]byte{loc: pattern(1, 1000)})
	c.sameChain()
}
