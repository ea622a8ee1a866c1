package node

import (
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A node of an older build is kept out of a cell that has gone further, before it has a part in the log.
func TestOlderBuildIsKeptOut(t *testing.T) {
	c := newCell(t, 1, 0)
	ctx := testContext(t)
	for _, n := range c.describeNodes(c.nodes["n1"]) {
		if got := c.nodes["n1"].log.View().Node(state.NodeID(n.ID)).Level; got != state.LevelNow {
			t.Fatalf("%s is known to be of level %d, want %d", n.ID, got, state.LevelNow)
		}
	}
	results, _, err := c.nodes["n1"].log.Propose(ctx, &state.Set{Key: "policy-batch-budget", Value: "16Mi"})
	if err != nil || results[0].Err != nil {
		t.Fatal(results, err)
	}
	join := wire.JoinRequest{Node: "n9", Addr: "127.0.0.1:1", Incarnation: 7, Level: uint8(state.LevelFirst)}
	_, err = c.dialAs("n9", "n1").Call(ctx, mux.Request{Op: wire.OpJoin, Session: wire.SessionControl, Body: &join})
	if wire.CodeOf(err) != wire.CodePrecondition || !strings.Contains(err.Error(), "newer build") {
		t.Errorf("an older build joins: %v", err)
	}
	servers, err := c.nodes["n1"].log.Servers()
	if err != nil || len(servers) != 1 || c.nodes["n1"].log.View().Node("n9") != nil {
		t.Errorf("it is a member: %v, %v", servers, err)
	}
}
