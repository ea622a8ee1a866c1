package node

import (
	"bytes"
	"sync"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// sealOf is the seal that ended an extent.
func sealOf(view *state.View, id uint64) (seal *state.Op) {
	view.Ops(0, func(o *state.Op) bool {
		if o.Kind == policies.KindSeal && o.Extent == state.ExtentID(id) {
			seal = o
		}
		return true
	})
	return seal
}

// others are the nodes of a cell of three but one.
func others(id string) []string {
	return map[string][]string{"n1": {"n2", "n3"}, "n2": {"n3", "n1"}, "n3": {"n1", "n2"}}[id]
}

// A node stands still, or its disk does, and answers nobody while an extent that it has a replica of is sealed. The
// seal ends without it in one attempt, nothing that was acknowledged is lost, and in the end every replica has it.
func TestSealWithoutSilentReplica(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, role string }{
		{"a replica's node stands still", "replica"},
		{"the primary's node stands still", "primary"},
		{"a replica's disk hangs", "disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sealSilent(t, c.role)
		})
	}
}

func sealSilent(t *testing.T, role string) {
	ice, faults := newFrost(), map[string]*vfs.Fault{}
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		ice.wrap(cfg)
		faults[cfg.ID] = vfs.NewFault(vfs.OS{})
		cfg.FS = faults[cfg.ID]
	})
	leader := c.leader()
	victim, thaw := others(leader)[0], ice.end
	primary := victim
	if role != "primary" {
		primary = leader
	}
	p := pattern(1, 70_000)
	loc, err := c.putAt(primary, p)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.any().log.View().Extent(state.ExtentID(loc.Extent)).Primary(); string(got) != primary {
		t.Fatalf("the primary is %s, want %s", got, primary)
	}
	if role == "disk" {
		answers := make(chan struct{})
		faults[victim].Set(func(call vfs.Call) error {
			if call.Op.Changes() {
				<-answers
			}
			return nil
		})
		thaw = func() { close(answers); faults[victim].Set(nil) } // first: the hook waits with the lock that Set takes
	} else {
		ice.freeze(victim)
	}
	thaw = sync.OnceFunc(thaw)
	t.Cleanup(thaw) // before the nodes are closed, which a disk that hangs would hold up
	one := client.New(client.Options{Addrs: []string{c.configs[leader].Listen}, Name: t.Name()})
	defer one.Close()
	res, err := one.Submit(testContext(t), []wire.Submission{{Kind: "seal", Extent: loc.Extent}}, client.SubmitOptions{})
	if err != nil || res[0].Code != 0 {
		t.Fatalf("seal: %v, %+v", err, res)
	}
	ops, err := one.Wait(testContext(t), []string{res[0].Op}, nil)
	if err != nil || ops[0].State != "done" || ops[0].Attempts != 1 {
		t.Errorf("seal ended as %+v, %v, want done in one attempt", ops, err)
	}
	thaw()
	c.up(3)
	c.whole()
	c.everyReplica(map[wire.Locator][]byte{loc: p})
	c.sameChain()
}

// The node that carries out a seal stands still from the moment on that it has begun. Another carries it out, in the
// next attempt, before that node is called down.
func TestSealMovesFromSilentExecutor(t *testing.T) {
	t.Parallel()
	ice := newFrost()
	c := newCellWith(t, 3, 1, func(cfg *Config) { cfg.Settings["replicas"] = "2"; ice.wrap(cfg) })
	leader := c.leader()
	var holders []string
	for _, id := range []string{"n1", "n2", "n3", "n4"} {
		if id != leader && len(holders) < 2 {
			holders = append(holders, id)
		}
	}
	made := c.run(wire.Submission{Kind: "create", Replicas: holders, Want: 2})
	id := made[0].Extent
	p := pattern(1, 30_000)
	loc, err := c.client.Put(testContext(t), bytes.NewReader(p), client.PutOptions{Extent: id, Length: int64(len(p))})
	if err != nil {
		t.Fatal(err)
	}
	ice.freeze(holders[0])
	defer ice.end()
	one := client.New(client.Options{Addrs: []string{c.configs[leader].Listen}, Name: t.Name()})
	defer one.Close()
	seal := []wire.Submission{{Kind: "seal", Extent: id}}
	if _, err := one.Submit(testContext(t), seal, client.SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	view := c.nodes[leader].log.View
	c.untilTrue("sealed", func() bool { return view().Extent(state.ExtentID(id)).State == state.ExtentSealed })
	if o := sealOf(view(), id); string(o.Executor) != holders[1] || o.Attempts > 2 {
		t.Errorf("sealed by %s in %d attempts, want by %s in 2: %+v", o.Executor, o.Attempts, holders[1], o.Steps)
	}
	ice.end()
	c.up(4)
	c.whole()
	c.everyReplica(map[wire.Locator][]byte{loc: p})
	c.sameChain()
}
