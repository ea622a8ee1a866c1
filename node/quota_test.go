package node

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// putTo puts n bytes of a class by way of one node. A length that is not announced is -1 on the wire.
func putTo(ctx context.Context, c *client.Client, class string, n int, announced bool) (wire.Locator, error) {
	opts := client.PutOptions{Class: class, Length: -1}
	if announced {
		opts.Length = int64(n)
	}
	return c.Put(ctx, io.MultiReader(bytes.NewReader(pattern(3, n))), opts)
}

func (c *cell) wantQuota(what string, err error, words ...string) {
	c.t.Helper()
	if wire.CodeOf(err) != wire.CodeQuota || wire.OutcomeOf(err) != wire.NotDone {
		c.t.Fatalf("%s: %v, want it refused for the quota and not done", what, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			c.t.Errorf("%s: %q does not say %q", what, err, w)
		}
	}
}

// What a class may keep is what it may, whether a put says how long it is or not; then it is refused, and nothing is
// kept of it. A delete makes room, and so does more of a quota. What is below what is used is refused.
func TestQuotaOfClass(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	ctx := testContext(t)
	c.set("quotas", "class=logs bytes=4Mi extents=8")
	big, err := putTo(ctx, c.client, "logs", 3<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = putTo(ctx, c.client, "logs", 2<<20, true)
	c.wantQuota("a put that does not fit", err, "class logs uses 3Mi of 4Mi bytes", "2Mi more")
	_, err = putTo(ctx, c.client, "logs", 2<<20, false)
	c.wantQuota("one that ends in the middle", err, "of 4Mi bytes")
	if _, err := putTo(ctx, c.client, "other", 2<<20, true); err != nil {
		t.Errorf("a put of another class: %v", err)
	}
	small, err := putTo(ctx, c.client, "logs", 1<<19, true)
	if err != nil {
		t.Fatalf("a put that fits: %v", err)
	}

	err = c.client.SetSetting(ctx, "quotas", "class=logs bytes=3Mi")
	c.wantQuota("a quota below what is used", err, "class logs uses 3670016 bytes")
	err = c.client.SetSetting(ctx, "quotas", "class=* bytes=3Mi")
	c.wantQuota("one of each class below what is used", err)
	if got, err := c.get(small, ""); err != nil || len(got) != 1<<19 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}

	c.set("quotas", "class=logs bytes=5Mi")
	_, err = putTo(ctx, c.client, "logs", 2<<20, true)
	c.wantQuota("a put that does not fit the raised quota", err)
	if _, err := putTo(ctx, c.client, "logs", 1<<20, false); err != nil {
		t.Errorf("a put after the quota was raised: %v", err)
	}
	c.run(wire.Submission{Kind: "delete", Extent: big.Extent})
	if _, err := putTo(ctx, c.client, "logs", 3<<20, true); err != nil {
		t.Errorf("a put after a delete: %v", err)
	}
	c.set("quotas", "none")
	if _, err := putTo(ctx, c.client, "logs", 2<<20, true); err != nil {
		t.Errorf("a put without quotas: %v", err)
	}
}

// An append to an extent that is named counts for the extent's class, and the extent stays sound when it is refused.
func TestQuotaOfAppends(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	ctx := testContext(t)
	c.set("quotas", "class=logs bytes=3Mi extents=1")
	made := c.run(wire.Submission{Kind: "create", Class: "logs"})
	_, err := c.client.Submit(ctx, []wire.Submission{{Kind: "create", Class: "logs"}}, client.SubmitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.client.Submit(ctx, []wire.Submission{{Kind: "create", Class: "logs"}}, client.SubmitOptions{})
	if err != nil || res[0].Code != wire.CodeQuota || !strings.Contains(res[0].Detail, "class logs uses 1 of 1 extents") {
		t.Errorf("a second extent: %+v, %v", res, err)
	}
	add := func(n int) error {
		to := client.PutOptions{Extent: made[0].Extent, Length: int64(n)}
		_, err := c.client.Put(ctx, bytes.NewReader(pattern(1, n)), to)
		return err
	}
	if err := add(2 << 20); err != nil {
		t.Fatal(err)
	}
	c.wantQuota("an append that does not fit", add(2<<20), "class logs uses 2Mi of 3Mi bytes, and 2Mi more")
	if err := add(1 << 20); err != nil {
		t.Errorf("an append that fits: %v", err)
	}
}

// Whose bytes are counts for him, and his alone; they share no extent with another's.
func TestQuotaOfIdentity(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 0, func(*Config) {})
	ctx := testContext(t)
	alice, bob := c.as(o.Source(pki.RoleClient, "alice")), c.as(o.Source(pki.RoleClient, "bob"))
	defer alice.Close()
	defer bob.Close()
	c.set("quotas", "identity=client/alice bytes=1Mi extents=5; identity=* bytes=64Mi")

	first, err := putTo(ctx, alice, "logs", 700<<10, true)
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range c.nodes { // whichever node she asks
		one := client.New(client.Options{Addrs: []string{n.Addr()}, Name: id, TLS: o.Source(pki.RoleClient, "alice")})
		_, err = putTo(ctx, one, "logs", 700<<10, true)
		one.Close()
		c.wantQuota("by way of "+id, err, "client/alice uses 700Ki of 1Mi bytes, and 700Ki more")
	}
	_, err = putTo(ctx, alice, "other", 700<<10, true)
	c.wantQuota("of another class", err)
	theirs, err := putTo(ctx, bob, "logs", 700<<10, true)
	if err != nil {
		t.Fatalf("another's put: %v", err)
	}
	if first.Extent == theirs.Extent {
		t.Errorf("both are in extent %d", first.Extent)
	}
	for loc, owner := range map[wire.Locator]state.Identity{first: "client/alice", theirs: "client/bob"} {
		if e := c.nodes[c.leader()].log.View().Extent(state.ExtentID(loc.Extent)); e == nil || e.Owner != owner {
			t.Errorf("%s is of %v, want %s", loc, e, owner)
		}
	}

	_, err = bob.Submit(ctx, []wire.Submission{{Kind: "create", Owner: "client/alice"}}, client.SubmitOptions{})
	if wire.CodeOf(err) != wire.CodeDenied {
		t.Errorf("bob creates an extent of hers: %v", err)
	}
	c.set("quotas", "identity=client/alice bytes=2Mi")
	if _, err := putTo(ctx, alice, "logs", 700<<10, true); err != nil {
		t.Errorf("after the quota was raised: %v", err)
	}
	status, err := alice.Status(ctx)
	if err != nil || len(status.Quotas) != 1 || status.Quotas[0].Bytes != 1400<<10 || status.Quotas[0].MostBytes != 2<<20 {
		t.Errorf("status says %+v, %v", status.Quotas, err)
	}
}

// However many put at once, through all nodes, they get no further than the quota, but for what each node gives away
// unasked. Nearly all of it can be used.
func TestQuotaUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	ctx := testContext(t)
	const limit, piece, each = 8 << 20, 96 << 10, 4
	c.set("quotas", "class=logs bytes=8Mi")
	var stored atomic.Int64
	var wg sync.WaitGroup
	for id, n := range c.nodes {
		for range each {
			one := client.New(client.Options{Addrs: []string{n.Addr()}, Name: id})
			defer one.Close()
			wg.Go(func() {
				for {
					_, err := putTo(ctx, one, "logs", piece, true)
					if err != nil {
						if wire.CodeOf(err) != wire.CodeQuota {
							t.Errorf("%s: %v", id, err)
						}
						return
					}
					stored.Add(piece)
				}
			})
		}
	}
	wg.Wait()
	if got, most := stored.Load(), int64(limit+3*limit/quota.Share); got > most || got < limit-each*3*piece {
		t.Errorf("%d bytes were stored under a quota of %d", got, limit)
	}
}
