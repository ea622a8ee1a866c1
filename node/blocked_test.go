package node

import (
	"testing"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/wire"
)

// blocked is all that waits.
func (c *cell) blocked(limit int) (all []wire.Blocked) {
	c.t.Helper()
	for b, err := range c.client.Blocked(testContext(c.t), wire.BlockedRequest{Limit: limit}) {
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// What waits is told with a reason, page by page: moves whose window is closed, and a node whose replicas nobody
// repairs yet.
func TestBlocked(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 3, 1, func(cfg *Config) { cfg.Settings["repair-delay"] = "1h" })
	if all := c.blocked(0); len(all) != 0 {
		t.Errorf("nothing happens, and %+v waits", all)
	}
	var extents []uint64
	for range 3 {
		extents = append(extents, c.made("n1", "n2", "n3"))
	}
	c.set("quiet-windows", "mon-sun 00:00-24:00 UTC move")
	for _, id := range extents {
		c.submitted(wire.Submission{Kind: "move", Extent: id, Node: "n1"})
	}
	c.kill("n4")
	c.down("n4") // it has nothing
	all := c.blocked(1)
	if len(all) != len(extents) {
		t.Fatalf("%+v", all)
	}
	for i, b := range all {
		if b.Op == "" || b.Extent != extents[i] || b.Kind != "move" || b.Node != "n1" || b.Since == 0 ||
			b.Reason != schedule.WaitQuiet {
			t.Errorf("move of extent %d: %+v", extents[i], b)
		}
	}
	lost := others(c.leader())[0]
	c.kill(lost)
	c.down(lost)
	all = c.blocked(0)
	first := all[0]
	if first.Op != "" || first.Node != lost || first.Count != len(extents) || first.Reason != schedule.WaitDelay ||
		first.Until <= first.Since {
		t.Errorf("%s is down: %+v", lost, first)
	}
}
