package node

import (
	"sync"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// A disk that hangs under the extents of a node, which goes on breathing: it says that it is not ready, the cell calls
// it down, puts at the others go on, whoever waits for a put at it gets an error, and it comes back when the disk
// answers.
func TestHungStore(t *testing.T) {
	t.Parallel()
	faults := map[string]*vfs.Fault{}
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		faults[cfg.ID] = vfs.NewFault(vfs.OS{})
		cfg.FS = faults[cfg.ID]
	})
	acked := map[wire.Locator][]byte{}
	for _, which := range []string{"a follower", "the leader"} {
		leader := c.leader()
		victim := leader
		if which == "a follower" {
			victim = map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}[leader]
		}
		for i, id := range []string{"n1", "n2", "n3"} {
			p := pattern(uint64(i), 20_000)
			loc, err := c.putAt(id, p)
			if err != nil {
				t.Fatalf("put at %s before the disk of %s hangs: %v", id, which, err)
			}
			acked[loc] = p
		}
		answers := make(chan struct{})
		answer := sync.OnceFunc(func() { close(answers) })
		t.Cleanup(answer) // before the nodes are closed, which would wait for the disk
		faults[victim].Set(func(call vfs.Call) error {
			if call.Op == vfs.OpSync {
				<-answers
			}
			return nil
		})
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i, id := range []string{"n1", "n2", "n3"} {
			wg.Go(func() {
				p := pattern(uint64(10+i), 20_000)
				loc, err := c.putAt(id, p)
				switch {
				case id == victim && err == nil:
					t.Errorf("%s has stored a put on a disk that hangs", id)
				case id == victim:
					t.Logf("put at %s: %v", id, err)
				case err != nil:
					t.Errorf("put at %s while the disk of %s, %s, hangs: %v", id, which, victim, err)
				default:
					mu.Lock()
					acked[loc] = p
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if c.nodes[victim].hang.Err() == nil {
			t.Errorf("%s does not say that its disk hangs", victim)
		}
		c.until("it is called down", func(n *Node) bool {
			return n.log.View().Node(state.NodeID(victim)).State == state.NodeDown
		})
		if c.nodes[victim].log.IsLeader() {
			t.Errorf("%s still leads", victim)
		}
		answer() // first: the hook waits with the lock that Set takes
		faults[victim].Set(nil)
		c.up(3)
	}
	c.whole()
	c.everyReplica(acked)
	c.sameChain()
}
