package node

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// smallDisk says of itself how large it is and how much of it is free.
type smallDisk struct {
	vfs.FS
	free *atomic.Uint64
}

func (d smallDisk) Space(string) (vfs.Space, error) {
	return vfs.Space{TotalBytes: 1 << 30, FreeBytes: d.free.Load()}, nil
}

// A move to a node that has no room for the extent is refused, and says why. With force it waits for that node,
// although others have room, and goes there once there is some.
func TestMoveToFullTarget(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(3 << 20) // beside the reserve; it is enough for the node to take replicas, but not this one
	c := newCellWith(t, 3, 2, func(cfg *Config) {
		if cfg.ID == "n4" {
			cfg.FS = smallDisk{vfs.OS{}, &free}
		}
	})
	made := c.run(wire.Submission{Kind: "create", Replicas: []string{"n1", "n2"}, Want: 2})
	id := made[0].Extent
	p := pattern(1, 4<<20)
	for range 4 { // as many appends as fit one each
		part := p[:len(p)/4]
		if _, err := c.client.Put(testContext(t), strings.NewReader(string(part)),
			client.PutOptions{Extent: id, Length: int64(len(part))}); err != nil {
			t.Fatal(err)
		}
	}
	c.sealOpen(id)
	c.until("n4 takes replicas, and has said how little room it has", func(n *Node) bool {
		n4 := n.log.View().Node("n4")
		return n4.Takes() && n4.Total > 0 && n4.Free < 4<<20
	})
	move := wire.Submission{Kind: "move", Extent: id, Node: "n1", Target: "n4"}
	res := c.submit(client.SubmitOptions{}, move)
	if res.Code != wire.CodePrecondition || !strings.Contains(res.Detail, "n4 is too full") {
		t.Fatalf("a move to a node without room is answered %d, %q", res.Code, res.Detail)
	}
	res = c.submit(client.SubmitOptions{Force: true}, move)
	if res.Code != 0 {
		t.Fatal(res.Detail)
	}
	op, err := c.client.Op(testContext(t), res.Op)
	if err != nil || op.State != "queued" || !strings.Contains(op.Blocked, "n4 is too full") {
		t.Errorf("the move is %s, %q, %v", op.State, op.Blocked, err)
	}
	free.Store(1 << 29)
	ops, err := c.client.Wait(testContext(t), []string{res.Op}, nil)
	if err != nil || ops[0].State != "done" || ops[0].Target != "n4" {
		t.Fatalf("the move has ended as %+v, %v", ops, err)
	}
	c.until("the replica is on n4", func(n *Node) bool {
		_, holds := n.log.View().Extent(state.ExtentID(id)).Replica("n4")
		return holds
	})
	c.verified(id, 2)
}
