package node

import (
	"slices"
	"testing"

	"github.com/datanode/datanode/wire"
)

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
