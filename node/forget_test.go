package node

import (
	"net"
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// gone waits until no running node knows a node any more.
func (c *cell) gone(id string) {
	c.t.Helper()
	c.until(id+" is forgotten", func(n *Node) bool { return n.log.View().Node(state.NodeID(id)) == nil })
}

// down waits until the cell calls a node down.
func (c *cell) down(id string) {
	c.t.Helper()
	c.until(id+" is down", func(n *Node) bool { return n.log.View().Node(state.NodeID(id)).State == state.NodeDown })
}

// inGroup reports whether the log's group has a member, as the leader knows it.
func (c *cell) inGroup(id string) bool {
	servers, err := c.nodes[c.leader()].log.Servers()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range servers {
		if s.ID == state.NodeID(id) {
			return true
		}
	}
	return false
}

// startNew starts a node that was never in the cell, at an address.
func (c *cell) startNew(id, addr string) {
	c.t.Helper()
	cfg := c.configs["n1"]
	cfg.ID, cfg.Dir, cfg.Listen, cfg.Listener = id, c.t.TempDir(), addr, nil
	cfg.Bootstrap, cfg.Join = nil, []string{c.any().Addr()}
	c.configs[id] = cfg
	c.start(id)
	c.ready(id)
}

// A node that dies and is decommissioned is forgotten at the end, with what it never confirmed. Its folder is not let
// in again, and an empty one is.
func TestDeadNodeIsForgotten(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	for i := range 6 {
		c.sealed(pattern(uint64(i), appendPiece+1))
	}
	ops := c.run(wire.Submission{Kind: "create", Replicas: []string{"n4", "n1"}, Want: 2})
	c.kill("n4")
	c.down("n4")
	// One is deleted before its node is given up, the others after.
	c.run(wire.Submission{Kind: "delete", Extent: ops[0].Extent})
	if ops := c.run(wire.Submission{Kind: "decommission", Node: "n4"}); ops[0].State != "done" {
		t.Fatalf("decommission is %s: %s", ops[0].State, ops[0].Detail)
	}
	c.gone("n4")
	if c.inGroup("n4") {
		t.Error("n4 is still in the log's group")
	}
	var subs []wire.Submission
	c.any().log.View().Extents(0, func(e *state.Extent) bool {
		if e.State != state.ExtentDeleted {
			subs = append(subs, wire.Submission{Kind: "delete", Extent: uint64(e.ID)})
		}
		return true
	})
	c.run(subs...)
	c.until("no tombstone is left", func(n *Node) bool { return n.log.View().Counts().Extents == 0 })

	oneLine(t, refused(t, c.configs["n4"]), "n4 was removed", "empty --dir")
	cfg := c.configs["n4"]
	cfg.Dir = t.TempDir()
	c.configs["n4"] = cfg
	c.start("n4")
	c.ready("n4")
	c.up(4)
}

// A new node comes to the address of a voter that is dead and was not decommissioned, and the dead one, alive after
// all, at another.
func TestNewNodeAtOldAddress(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	loc := c.sealed(pattern(1, appendPiece+1))
	old := c.configs["n2"].Listen
	c.kill("n2")
	c.down("n2")
	c.startNew("n5", old)
	c.up(4)
	c.until("n2 has no vote, another has", func(n *Node) bool {
		votes := 0
		for _, d := range c.describeNodes(n) {
			if d.Voter {
				votes++
			}
		}
		return votes == 3 && !n.log.View().Node("n2").Voter
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.configs["n2"]
	cfg.Listener, cfg.Listen = l, l.Addr().String()
	c.configs["n2"] = cfg
	c.start("n2")
	c.ready("n2")
	c.up(5)
	c.whole()
	c.verified(loc.Extent, 3)
}

// Nobody takes the address of a node that is alive.
func TestAddressOfALiveNode(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	lead := c.nodes[c.leader()]
	var other *Node
	for _, n := range c.nodes {
		if n != lead {
			other = n
		}
	}
	c.untilTrue("the leader has heard of the other", func() bool { return lead.lead.Alive(other.id) })
	_, err := lead.lead.Admit(testContext(t), wire.JoinRequest{
		Node: "n9", Addr: other.addr, Incarnation: 9, Level: uint8(state.LevelNow),
	})
	oneLine(t, err, "is the address of node "+string(other.id))
	if !c.inGroup(string(other.id)) {
		t.Errorf("%s was taken out of the log's group", other.id)
	}
}

// By force a node that is down is removed with its replicas and its vote; the cell goes on with the others.
func TestRemoveByForce(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.sealed(pattern(1, appendPiece+1))
	remove := func(req wire.NodeRemoveRequest) error {
		_, err := c.client.RemoveNode(testContext(t), req)
		return err
	}
	oneLine(t, remove(wire.NodeRemoveRequest{Node: "n7", Force: true}), "no node")
	oneLine(t, remove(wire.NodeRemoveRequest{Node: "n3", Force: true}), "n3 is up", "node decommission n3")
	alone := c.run(wire.Submission{Kind: "create", Replicas: []string{"n3"}, Want: 1})[0].Extent
	c.run(wire.Submission{Kind: "seal", Extent: alone})
	c.kill("n3")
	c.down("n3")
	oneLine(t, remove(wire.NodeRemoveRequest{Node: "n3"}), "n3 is down", "vote true", "--force")
	oneLine(t, remove(wire.NodeRemoveRequest{Node: "n3", Force: true}), "only whole replica", "deleting it")
	c.run(wire.Submission{Kind: "delete", Extent: alone}) // as the refusal says
	before := c.any().log.View().Node("n3")
	if err := remove(wire.NodeRemoveRequest{Node: "n3", Force: true, DryRun: true}); err != nil || before == nil {
		t.Fatal(err)
	}
	if !c.inGroup("n3") {
		t.Fatal("a dry run took n3 out of the group")
	}
	if err := remove(wire.NodeRemoveRequest{Node: "n3", Force: true}); err != nil {
		t.Fatal(err)
	}
	c.gone("n3")
	if c.inGroup("n3") {
		t.Error("n3 is still in the log's group")
	}
	c.until("no tombstone is left", func(n *Node) bool { return n.log.View().Extent(state.ExtentID(alone)) == nil })
	c.verified(loc.Extent, 2)
	oneLine(t, refused(t, c.configs["n3"]), "n3 was removed", "empty --dir")
	// An empty one takes its place, replicas and vote.
	cfg := c.configs["n3"]
	cfg.Dir, cfg.Bootstrap, cfg.Join = t.TempDir(), nil, []string{c.any().Addr()}
	c.configs["n3"] = cfg
	c.start("n3")
	c.ready("n3")
	c.whole()
	c.verified(loc.Extent, 3)
	c.until("n3 has a vote", func(n *Node) bool { node := n.log.View().Node("n3"); return node != nil && node.Voter })
}

// A decommissioned node is stopped before it is removed, or stops by itself when it is removed all the same.
func TestRemoveWhileUp(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	if ops := c.run(wire.Submission{Kind: "decommission", Node: "n4"}); ops[0].State != "done" {
		t.Fatalf("decommission is %s: %s", ops[0].State, ops[0].Detail)
	}
	c.mode("n4", state.ModeDecommissioned)
	_, err := c.client.RemoveNode(testContext(t), wire.NodeRemoveRequest{Node: "n4"})
	oneLine(t, err, "still up", "stop it first", "--force")
	if _, err := c.client.RemoveNode(testContext(t), wire.NodeRemoveRequest{Node: "n4", Force: true}); err != nil {
		t.Fatal(err)
	}
	n4 := c.nodes["n4"]
	select {
	case <-n4.Done():
		oneLine(t, n4.Err(), "n4 was removed")
	case <-time.After(patience):
		t.Fatal("n4 goes on although it was removed")
	}
	delete(c.nodes, "n4")
	c.gone("n4")
}
