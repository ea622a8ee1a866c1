package node

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// harm is what somebody does to one replica's file while its node is stopped.
type harm struct {
	name string
	do   func(t *testing.T, r *rand.Rand, path string, was []byte) // was is the file before the last append
}

func harms() []harm {
	write := func(t *testing.T, path string, raw []byte) {
		t.Helper()
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(t *testing.T, path string) []byte {
		t.Helper()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	return []harm{
		{"a bit of the last record flips", func(t *testing.T, r *rand.Rand, path string, was []byte) {
			raw := read(t, path)
			raw[len(was)+r.IntN(len(raw)-len(was))] ^= 1 << r.IntN(8)
			write(t, path, raw)
		}},
		{"any bit flips", func(t *testing.T, r *rand.Rand, path string, was []byte) {
			raw := read(t, path)
			raw[r.IntN(len(raw))] ^= 1 << r.IntN(8)
			write(t, path, raw)
		}},
		{"the last record is torn", func(t *testing.T, r *rand.Rand, path string, was []byte) {
			raw := read(t, path)
			write(t, path, raw[:len(was)+r.IntN(len(raw)-len(was))])
		}},
		{"the file is cut anywhere", func(t *testing.T, r *rand.Rand, path string, was []byte) {
			raw := read(t, path)
			write(t, path, raw[:r.IntN(len(raw))])
		}},
		{"the file is an older one", func(t *testing.T, r *rand.Rand, path string, was []byte) { write(t, path, was) }},
		{"the file is gone", func(t *testing.T, r *rand.Rand, path string, was []byte) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// Whatever becomes of one replica of an open extent while its node is stopped, also of the primary's: every byte
// that was acknowledged is served, and in the end every replica has it.
func TestAcknowledgedIsNeverCut(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c := newCell(t, 3, 0)
	for _, h := range harms() {
		for _, victim := range []string{"n1", "n3"} {
			harmOne(t, c, r, h, victim)
		}
	}
}

// harmOne fills an open extent, harms the replica of one node, and looks for what was acknowledged.
func harmOne(t *testing.T, c *cell, r *rand.Rand, h harm, victim string) {
	t.Helper()
	first, last := pattern(r.Uint64(), 1+r.IntN(100_000)), pattern(r.Uint64(), 1+r.IntN(100_000))
	before := c.put(first)
	id := before.Extent
	primary := string(c.any().log.View().Extent(state.ExtentID(id)).Primary())
	if victim == "n1" {
		victim = primary
	} else if victim == primary {
		victim = "n2"
	}
	was, err := os.ReadFile(c.file(victim, id))
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.client.Put(testContext(t), bytes.NewReader(last),
		client.PutOptions{Extent: id, Length: int64(len(last))})
	if err != nil {
		t.Fatal(err)
	}
	c.kill(victim)
	h.do(t, r, c.file(victim, id), was)
	c.start(victim)
	c.ready(victim)
	c.sealOpen(id)
	for _, x := range []struct {
		loc  wire.Locator
		want []byte
	}{{before, first}, {after, last}} {
		if got, err := c.get(x.loc, ""); err != nil || !bytes.Equal(got, x.want) {
			t.Fatalf("%s on %s: %d of %d acknowledged bytes of %+v, %v\n%s",
				h.name, victim, len(got), len(x.want), x.loc, err, c.describe())
		}
	}
	c.whole()
	c.verified(id, 3)
	for _, node := range []string{"n1", "n2", "n3"} {
		if got, err := c.get(after, node); err != nil || !bytes.Equal(got, last) {
			t.Fatalf("%s on %s: %s has %d of %d bytes, %v", h.name, victim, node, len(got), len(last), err)
		}
	}
}

// sealOpen has an extent sealed, if nobody else does.
func (c *cell) sealOpen(id uint64) {
	c.t.Helper()
	res := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "seal", Extent: id})
	if res.Code != 0 && res.Code != wire.CodePrecondition && res.Code != wire.CodeConflict {
		c.t.Fatal(res.Detail)
	}
	c.until("sealed", func(n *Node) bool { return n.log.View().Extent(state.ExtentID(id)).State == state.ExtentSealed })
}

// All replicas of an extent are harmed, each in another place. What can be read of any is served, the extent is called
// damaged and says where, and nothing is copied over what is left. When one replica's file is put back, all is well
// again.
func TestDamagedExtent(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	first, last := pattern(1, 4*extent.MaxRecordBytes), pattern(2, 5000)
	before := c.put(first)
	id := before.Extent
	after, err := c.client.Put(testContext(t), bytes.NewReader(last),
		client.PutOptions{Extent: id, Length: int64(len(last))})
	if err != nil {
		t.Fatal(err)
	}
	nodes := []string{"n1", "n2", "n3"}
	for _, node := range nodes {
		c.kill(node)
	}
	good, err := os.ReadFile(c.file("n3", id))
	if err != nil {
		t.Fatal(err)
	}
	flip(t, c.file("n1", id), 1000)                           // in the first record
	flip(t, c.file("n2", id), 3*extent.MaxRecordBytes)        // in the third
	if err := os.Truncate(c.file("n3", id), 32); err != nil { // all but the header
		t.Fatal(err)
	}
	for _, node := range nodes {
		c.start(node)
	}
	for _, node := range nodes {
		c.ready(node)
	}
	damaged := func(n *Node) bool {
		e := n.log.View().Extent(state.ExtentID(id))
		return e.State == state.ExtentSealed && e.Damaged
	}
	c.until("damaged", damaged)
	c.up(3)
	for loc, want := range map[wire.Locator][]byte{before: first, after: last} {
		if got, err := c.get(loc, ""); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: %d of %d bytes, %v", loc, len(got), len(want), err)
		}
	}
	shown, err := c.client.Extent(testContext(t), id)
	if err != nil || len(shown.Damaged) != 1 || shown.Damaged[0].To != uint64(len(first)+len(last)) || shown.Live != 0 {
		t.Errorf("shown as %+v, %v", shown, err)
	}
	if res := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "repair", Extent: id}); res.Code == 0 {
		t.Logf("a repair that was asked for waits: %s", res.Op)
	}
	c.kill("n3")
	if err := os.WriteFile(c.file("n3", id), good, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start("n3")
	c.ready("n3")
	c.whole()
	c.verified(id, 3)
	for _, node := range nodes {
		if got, err := c.get(after, node); err != nil || !bytes.Equal(got, last) {
			t.Errorf("%s: %d of %d bytes, %v", node, len(got), len(last), err)
		}
	}
}
