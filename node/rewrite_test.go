package node

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// hollowed is a cell's sealed extent of which little is kept, in the middle of records, so that a punch gives nothing
// back.
type hollowed struct {
	c          *cell
	extent     uint64
	kept, gone []wire.Locator
	bytes      [][]byte // of what is kept
}

const hollowedBytes = 60_000

// hollow puts objects and seals their extent. Nothing of it is deleted yet.
func (c *cell) hollow(objects int) *hollowed {
	c.t.Helper()
	h := &hollowed{c: c}
	for i := range objects {
		p := pattern(uint64(i), hollowedBytes)
		loc := c.put(p)
		if h.extent == 0 {
			h.extent = loc.Extent
		}
		if loc.Extent != h.extent {
			c.t.Fatalf("put %d went to extent %d, others to %d", i, loc.Extent, h.extent)
		}
		if i%10 == 0 {
			h.gone = append(h.gone, loc)
			continue
		}
		front, back := loc, loc
		front.Length = hollowedBytes - 1000
		back.Offset, back.Length = loc.Offset+front.Length, 1000
		h.gone, h.kept, h.bytes = append(h.gone, front), append(h.kept, back), append(h.bytes, p[front.Length:])
	}
	c.run(wire.Submission{Kind: "seal", Extent: h.extent})
	return h
}

// smallOn waits until nodes have rewritten their replicas.
func (h *hollowed) smallOn(ids ...string) {
	h.c.t.Helper()
	for _, id := range ids {
		h.c.untilTrue("the replica of "+id+" is rewritten", func() bool {
			info, err := h.c.nodes[id].disks.Stat(extent.ID(h.extent))
			return err == nil && info.PhysicalBytes < int64(info.Length)/10
		})
	}
}

// check reads what is kept from every replica, and what is deleted, and has all verified.
func (h *hollowed) check(when string, replicas int) {
	h.c.t.Helper()
	n := h.c.any()
	if err := n.catchUp(testContext(h.c.t)); err != nil {
		h.c.t.Fatal(err)
	}
	for _, r := range n.log.View().Extent(state.ExtentID(h.extent)).Replicas {
		for i, loc := range h.kept {
			if got, err := h.c.get(loc, string(r.Node)); err != nil || !bytes.Equal(got, h.bytes[i]) {
				h.c.t.Fatalf("%s: %s of %s: %d bytes, %v", when, loc, r.Node, len(got), err)
			}
		}
		for _, loc := range h.gone {
			if got, err := h.c.get(loc, string(r.Node)); len(got) > 0 || wire.CodeOf(err) != wire.CodeNotFound {
				h.c.t.Fatalf("%s: deleted %s of %s: %d bytes, %v", when, loc, r.Node, len(got), err)
			}
		}
	}
	h.c.verified(h.extent, replicas)
}

// rewrites are the operations that rewrite replicas, by their state.
func (c *cell) rewrites() map[string]int {
	states := map[string]int{}
	c.any().log.View().Ops(0, func(o *state.Op) bool {
		if o.Kind == policies.KindPunch {
			states[o.State.String()]++
		}
		return true
	})
	return states
}

// What is mostly deleted is rewritten on each node, on one after the other, also where one is killed in the middle of
// it, and on one that was away: what is kept is read byte for byte, by its locators, and repairs copy from rewritten
// replicas and to nodes that rewrite theirs in turn.
func TestMostlyDeletedIsRewritten(t *testing.T) {
	t.Parallel()
	c := newCell(t, 5, 0) // two of which may be away
	h := c.hollow(60)
	var holders []string
	for _, r := range c.any().log.View().Extent(state.ExtentID(h.extent)).Replicas {
		holders = append(holders, string(r.Node))
	}
	killed, away := holders[0], holders[1]
	c.set("repair-delay", "10m")
	began, replicas := make(chan struct{}, 1), c.nodes[killed].replicas
	c.nodes[killed].exec.Replace(func(ctx context.Context, o *state.Op) (*state.Finish, error) {
		if o.Kind == policies.KindPunch {
			began <- struct{}{}
			<-ctx.Done() // it is killed before it has done anything that counts
			return nil, ctx.Err()
		}
		return replicas.CarryOut(ctx, o)
	})
	c.kill(away)
	c.untilTrue("it is down", func() bool {
		return c.any().log.View().Node(state.NodeID(away)).State == state.NodeDown
	})
	c.punched(h.gone...)
	select {
	case <-began:
	case <-testContext(t).Done():
		t.Fatalf("no rewrite began: %v", c.rewrites())
	}
	c.kill(killed)
	h.smallOn(holders[2])
	c.start(killed)
	c.ready(killed)
	h.smallOn(killed)
	c.start(away)
	c.ready(away)
	h.smallOn(away)
	c.up(5)
	h.check("rewritten", 3)

	if ops := c.run(wire.Submission{Kind: "move", Extent: h.extent, Node: killed}); ops[0].State != "done" {
		t.Fatalf("%+v", ops)
	}
	h.check("moved from a rewritten replica", 3)
	all := c.nodes[holders[2]]
	if err := all.catchUp(testContext(t)); err != nil {
		t.Fatal(err)
	}
	holders = nil
	for _, r := range all.log.View().Extent(state.ExtentID(h.extent)).Replicas {
		holders = append(holders, string(r.Node))
	}
	h.smallOn(holders...)
	h.check("rewritten where it was moved to", 3)
	for _, id := range holders {
		c.kill(id)
		c.start(id)
		c.ready(id)
	}
	c.up(5)
	h.check("after a restart", 3)
	if done, bytes, _ := c.nodes[killed].replicas.Rewrites(); done != 1 || bytes < 30*hollowedBytes {
		t.Errorf("%s says that it has rewritten %d replicas, which gave back %d bytes", killed, done, bytes)
	}
}

// While a node of an older build is in the cell nothing is rewritten that it could not read, and afterwards it is.
func TestRewriteWaitsForTheLastNode(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	c.joins("n9", state.LevelRewritten-1)
	down := &state.SetNodeState{Node: "n9", State: state.NodeDown}
	if err := c.nodes["n1"].lead.Propose(testContext(t), down); err != nil {
		t.Fatal(err)
	}
	h := c.hollow(30)
	c.punched(h.gone...)
	for range 3 {
		c.nodes["n1"].reclaim.Sweep(testContext(t))
	}
	_, err := c.nodes["n1"].askRewrite(testContext(t), state.ExtentID(h.extent))
	if wire.CodeOf(err) != wire.CodePrecondition || !strings.Contains(err.Error(), "n9") {
		t.Errorf("asked all the same: %v", err)
	}
	if len(c.rewrites()) > 0 || c.nodes["n1"].log.View().Level >= state.LevelRewritten {
		t.Errorf("rewrites: %v, with an older node", c.rewrites())
	}
	h.check("with an older node", 1)
	c.joins("n9", state.LevelRewritten)
	h.smallOn("n1")
	h.check("without one", 1)
}

// Nobody asks for a rewrite but a node, for its own replica.
func TestRewriteIsNotSubmitted(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	h := c.hollow(1)
	got := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "punch", Extent: h.extent, Node: "n1"})
	if got.Code != wire.CodeInvalid || !strings.Contains(got.Detail, "rm LOCATOR") {
		t.Errorf("%+v", got)
	}
}
