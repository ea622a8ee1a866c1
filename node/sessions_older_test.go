package node

import (
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// While a node of an older build is in the cell, nothing that it would apply otherwise is written: no owners, no sums,
// nobody who asked. The leader still answers no request with another's result. Once the last node has this build
// sessions belong to somebody; those from before are anybody's, and what was asked for in them stays answered.
func TestSessionsWithAnOlderNode(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 1, 0, func(*Config) {})
	n := c.nodes["n1"]
	// It is there by name only: what counts is what the cell knows about its build.
	c.joins("n9", state.LevelProven)
	from := n.log.AppliedIndex() + 1
	alice, bob := voice{c, o.Source(pki.RoleClient, "alice")}, voice{c, o.Source(pki.RoleClient, "bob")}
	loc, other := c.sealed(pattern(1, 2000)), c.sealed(pattern(2, 2000))
	session := alice.session("n1")
	create := alice.submit("n1", session, 1, wire.Submission{Kind: "create"})
	if create.Code != 0 {
		t.Fatalf("%+v", create)
	}
	if again := bob.submit("n1", session, 1, wire.Submission{Kind: "create"}); again.Op != create.Op {
		t.Errorf("a session that is nobody's: %+v, want %+v", again, create)
	}
	refusedAs(t, "a delete under a create's number",
		alice.submit("n1", session, 1, wire.Submission{Kind: "delete", Extent: loc.Extent}), wire.CodeInvalid)
	c.untouched(loc.Extent)
	c.set("max-attempts", "9")
	c.levelsFrom(from, func(level state.Level, cmd state.Command) {
		if level >= state.LevelNamed || state.AskedBy(cmd) != "" {
			t.Errorf("an older node is given %T %+v", cmd, cmd)
		}
	})

	c.joins("n9", state.LevelNamed)
	from = n.log.AppliedIndex() + 1
	if again := bob.submit("n1", session, 1, wire.Submission{Kind: "create"}); again.Op != create.Op {
		t.Errorf("a session from before: %+v, want %+v", again, create)
	}
	owned := alice.session("n1")
	refusedAs(t, "in a session that is somebody's",
		bob.submit("n1", owned, 1, wire.Submission{Kind: "delete", Extent: other.Extent}), wire.CodeDenied)
	if res := alice.submit("n1", owned, 1, wire.Submission{Kind: "delete", Extent: other.Extent}); res.Code != 0 {
		t.Errorf("%+v", res)
	}
	sums := 0
	c.levelsFrom(from, func(_ state.Level, cmd state.Command) {
		if a, ok := cmd.(*state.Admit); ok && a.Request.Sum != 0 && a.AskedBy == "client/alice" {
			sums++
		}
	})
	if sums != 1 {
		t.Errorf("%d requests have sums, want that of the delete", sums)
	}
}

// joins makes a node known to the cell by its build.
func (c *cell) joins(id state.NodeID, level state.Level) {
	c.t.Helper()
	n := c.nodes[c.leader()]
	join := &state.Join{Node: id, Addr: "127.0.0.1:1", Incarnation: uint64(level), Level: level}
	if err := n.lead.Propose(testContext(c.t), join); err != nil {
		c.t.Fatal(err)
	}
}

// levelsFrom goes through the commands from an entry on, with the level of each.
func (c *cell) levelsFrom(from state.Index, look func(state.Level, state.Command)) {
	c.t.Helper()
	n := c.nodes[c.leader()]
	err := n.log.Entries(from, n.log.AppliedIndex(), func(e raftlog.EntryInfo) bool {
		for _, cmd := range e.Commands {
			look(state.LevelOf([]state.Command{cmd}), cmd)
		}
		return true
	})
	if err != nil {
		c.t.Fatal(err)
	}
}
