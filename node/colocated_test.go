package node

import (
	"sync"
	"testing"
)

// A node that serves clients has the others of its machine share with them, and those of another machine not.
func TestColocatedNodesShare(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.put(pattern(1, 1000))
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := c.get(loc, "n1"); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	told := func(id string) bool { return c.nodes[id].share.Shared() && !c.nodes[id].share.Serves() }
	c.untilTrue("n2 and n3 share with the client of n1", func() bool { return told("n2") && told("n3") })
	close(stop)
	reader.Wait()
	c.untilTrue("nobody shares any more", func() bool {
		return !c.nodes["n1"].share.Shared() && !c.nodes["n2"].share.Shared() && !c.nodes["n3"].share.Shared()
	})
	for _, hosts := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1:7400", "10.0.0.1:7401", true}, {"10.0.0.1:7400", "10.0.0.2:7400", false},
		{"[::1]:7400", "[::1]:7401", true}, {"", "", false},
	} {
		if got := sameHost(hosts.a, hosts.b); got != hosts.same {
			t.Errorf("%q and %q are of one machine: %t", hosts.a, hosts.b, got)
		}
	}
}
