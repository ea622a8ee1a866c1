package node

import (
	"bytes"
	"net/http"
	"slices"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// On a real cell the counts are in status, in the list of nodes and in the metrics.
func TestCountsAreShown(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 3, 1, func(cfg *Config) { cfg.HTTP = "127.0.0.1:0" })
	made := c.run(wire.Submission{Kind: "create", Class: "gold", Replicas: []string{"n1", "n2"}, Want: 2})
	id := made[0].Extent
	if _, err := c.client.Put(testContext(t), bytes.NewReader(pattern(1, 1000)),
		client.PutOptions{Extent: id, Length: 1000}); err != nil {
		t.Fatal(err)
	}
	c.sealOpen(id)
	c.kill("n4") // a move there stays queued
	c.until("n4 is down", func(n *Node) bool { return n.log.View().Node("n4").State == state.NodeDown })
	move := wire.Submission{Kind: "move", Extent: id, Node: "n1", Target: "n4"}
	if res := c.submit(client.SubmitOptions{Force: true}, move); res.Code != 0 {
		t.Fatal(res.Detail)
	}
	c.until("the move is queued", func(n *Node) bool { return n.log.View().Counts().Queued == 1 })
	s, err := c.client.Status(testContext(t))
	one := []wire.OpCount{{Name: "move", Queued: 1}}
	if err != nil || !slices.Equal(s.ByKind, one) || !slices.Equal(s.ByClass, []wire.OpCount{{Name: "gold", Queued: 1}}) ||
		!slices.Equal(s.ByNode, []wire.NodeOpCount{{Node: "n1", SourceQueued: 1}, {Node: "n4", TargetQueued: 1}}) {
		t.Errorf("status is %+v, %v", s, err)
	}
	nodes, err := c.client.Nodes(testContext(t))
	if err != nil || nodes[0].SourceQueued != 1 || nodes[3].TargetQueued != 1 || nodes[1].SourceQueued != 0 {
		t.Errorf("nodes are %+v, %v", nodes, err)
	}
	_, metrics := askHTTP(t, http.DefaultClient, http.MethodGet, c.any().HTTPURL()+"/metrics", "")
	for name, want := range map[string]float64{
		`datanode_operations{kind="move",state="queued"}`: 1, `datanode_operations{kind="move",state="running"}`: 0,
		`datanode_operations{kind="repair",state="queued"}`: 0, `datanode_class_operations{class="gold",state="queued"}`: 1,
		`datanode_node_operations{node="n1",side="source",state="queued"}`: 1,
		`datanode_node_operations{node="n4",side="target",state="queued"}`: 1,
		`datanode_node_operations{node="n2",side="source",state="queued"}`: 0,
	} {
		if got := sample(t, metrics, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
