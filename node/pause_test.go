package node

import (
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// paused is what the cell says of a node's pause; nil when it is not paused.
func (c *cell) paused(id string) *wire.NodePause {
	c.t.Helper()
	for _, n := range c.describeNodes(c.nodes[c.leader()]) {
		if n.ID == id && len(n.Paused) > 0 {
			return &n.Paused[0]
		}
	}
	return nil
}

// repairs are the extents that were ever repaired.
func (c *cell) repairs() map[uint64]bool {
	c.t.Helper()
	all := map[uint64]bool{}
	for op, err := range c.client.Ops(testContext(c.t), wire.OpsRequest{}) {
		if err != nil {
			c.t.Fatal(err)
		}
		if op.Kind == "repair" {
			all[op.Extent] = true
		}
	}
	return all
}

func (c *cell) pause(req wire.PauseRequest) error {
	_, err := c.client.Pause(testContext(c.t), req)
	return err
}

// made makes a sealed extent on these nodes.
func (c *cell) made(nodes ...string) uint64 {
	c.t.Helper()
	ops := c.run(wire.Submission{Kind: "create", Replicas: nodes, Want: uint8(len(nodes))})
	c.run(wire.Submission{Kind: "seal", Extent: ops[0].Extent})
	return ops[0].Extent
}

// The leader is paused, and stopped for longer than repair-delay. It has given the lead away before and has no open
// extents; nothing is repaired because of it, but what is lost besides is. It comes back, and is paused until somebody
// ends that.
func TestPausedNodeIsStopped(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	leader := c.leader()
	first, second := others(leader)[0], others(leader)[1]
	safe, lost := c.made(leader, first, second), c.made(leader, first, "n4")
	open := c.run(wire.Submission{Kind: "create", Replicas: []string{leader, first, second}})[0].Extent
	const hour = int64(time.Hour / time.Microsecond)
	err := c.pause(wire.PauseRequest{Node: leader, ForMicros: hour, DryRun: true})
	if err != nil || c.paused(leader) != nil {
		t.Fatalf("dry run: %v, and it is %+v", err, c.paused(leader))
	}
	if err := c.pause(wire.PauseRequest{Node: leader, ForMicros: hour}); err != nil {
		t.Fatal(err)
	}
	c.untilTrue("it can be stopped", func() bool { p := c.paused(leader); return p != nil && p.Waits == "" })
	if c.leader() == leader {
		t.Errorf("%s still leads", leader)
	}
	if e := c.any().log.View().Extent(state.ExtentID(open)); e.State != state.ExtentSealed {
		t.Errorf("open extent is %s", e)
	}
	// Another must not go now: one vote of three would be left.
	if err := c.pause(wire.PauseRequest{Node: first, ForMicros: hour}); wire.CodeOf(err) != wire.CodePrecondition {
		t.Errorf("a second pause: %v", err)
	}
	c.kill(leader)
	c.down(leader)
	c.put(pattern(1, 1000))
	c.kill("n4") // after the other one: when this one's delay is over, so is that one's
	c.down("n4")
	c.until("what n4 had is repaired", func(n *Node) bool {
		_, has := n.log.View().Extent(state.ExtentID(lost)).Replica(state.NodeID(second))
		return has
	})
	if all := c.repairs(); all[safe] || all[open] {
		t.Errorf("repaired: %v; extents %d and %d lack only the node that is paused", all, safe, open)
	}
	c.start(leader)
	c.ready(leader)
	c.up(3)
	if p := c.paused(leader); p == nil {
		t.Errorf("a restart has ended the pause of %s", leader)
	}
	refused := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "create", Replicas: []string{leader}})
	if refused.Code == 0 {
		t.Errorf("%s is paused, and an extent was made on it", leader)
	}
	resume := wire.PauseRequest{Node: leader, Resume: true}
	if err := c.pause(resume); err != nil {
		t.Fatal(err)
	}
	c.run(wire.Submission{Kind: "create", Replicas: []string{leader}, Want: 1})
	if err := c.pause(resume); wire.CodeOf(err) != wire.CodePrecondition {
		t.Errorf("resumed twice: %v", err)
	}
	c.sameChain()
}

// A pause ends by itself. By force one node more is paused than the cell can spare, which is recorded; all of them
// paused, the leader keeps the lead and the cell works.
func TestPauseEnds(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	for _, bad := range []wire.PauseRequest{{Node: "n1"}, {Node: "n1", ForMicros: int64(state.MaxPause) + 1}} {
		if err := c.pause(bad); wire.CodeOf(err) != wire.CodeInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := c.pause(wire.PauseRequest{Node: "n9", ForMicros: 1}); wire.CodeOf(err) != wire.CodeNotFound {
		t.Error(err)
	}
	if err := c.pause(wire.PauseRequest{Node: "n1", ForMicros: 1}); err != nil {
		t.Fatal(err)
	}
	c.until("the pause of n1 is over", func(n *Node) bool { return !n.log.View().Node("n1").IsPaused() })
	long := int64(state.MaxPause)
	for _, id := range []string{"n1", "n2", "n3"} {
		if err := c.pause(wire.PauseRequest{Node: id, ForMicros: long, Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	view := c.nodes[c.leader()].log.View()
	if view.Node("n1").Pause.Forced || !view.Node("n2").Pause.Forced || !view.Node("n3").Pause.Forced {
		t.Errorf("by force: n1 %t, n2 %t, n3 %t", view.Node("n1").Pause.Forced, view.Node("n2").Pause.Forced,
			view.Node("n3").Pause.Forced)
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		if err := c.pause(wire.PauseRequest{Node: id, Resume: true}); err != nil {
			t.Fatal(err)
		}
	}
	c.put(pattern(1, 1000))
}
