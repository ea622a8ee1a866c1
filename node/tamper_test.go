package node

import (
	"bytes"
	"context"
	goflag "flag"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/wiretest"
)

// The founding failure: repairs, deletes and a decommission while frames go astray. The ordinary run
// is a small one. For the full one:
//
//	go test ./node -run TestTamperedCell -timeout 30m -tampered 100000
var (
	tampered   = goflag.Int("tampered", 2000, "how many frames between the nodes of a cell are tampered with")
	tamperSeed = goflag.Uint64("tamper-seed", 1, "what they are chosen by")
)

// tamperedClient is a client whose connections go through the proxy too. It has more patience than a
// broken connection after each few calls can use up.
func (c *cell) tamperedClient(p *wiretest.Proxy) *client.Client {
	var addrs []string
	for _, cfg := range c.configs {
		addrs = append(addrs, cfg.Listen)
	}
	cl := client.New(client.Options{Addrs: addrs, Name: "behind the proxy", RetryFor: 2 * patience, Dial: behind(p)})
	c.t.Cleanup(func() { cl.Close() })
	return cl
}

// behind dials through the proxy.
func behind(p *wiretest.Proxy) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := dialFromElsewhere(ctx, addr)
		if err != nil {
			return nil, err
		}
		return p.Wrap(nc), nil
	}
}

// readers read what is kept, and check every byte, until they are stopped.
type readers struct {
	wg           sync.WaitGroup
	mu           sync.Mutex
	right, wrong int // guarded by mu
	failed       map[wire.Code]int
}

func (c *cell) read(ctx context.Context, cl *client.Client, kept map[wire.Locator][]byte) *readers {
	r := &readers{failed: map[wire.Code]int{}}
	for range 4 {
		r.wg.Go(func() {
			for ctx.Err() == nil {
				for loc, want := range kept {
					var got bytes.Buffer
					_, err := cl.Read(ctx, wire.ReadRequest{Locator: loc}, &got)
					if ctx.Err() != nil {
						return
					}
					r.note(c.t, loc, got.Bytes(), want, err)
				}
			}
		})
	}
	return r
}

func (r *readers) note(t *testing.T, loc wire.Locator, got, want []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	code := wire.CodeOf(err)
	switch {
	case err == nil && bytes.Equal(got, want):
		r.right++
	case err != nil && code != 0 && bytes.HasPrefix(want, got):
		r.failed[code]++
	default:
		r.wrong++
		t.Errorf("%v: %d bytes that are not those that were put, want %d: %v", loc, len(got), len(want), err)
	}
}

// putAmidTampering puts again after a typed error: a put that is not acknowledged promises nothing.
func (c *cell) putAmidTampering(p []byte) wire.Locator {
	c.t.Helper()
	for ctx := testContext(c.t); ; {
		loc, err := c.client.Put(ctx, bytes.NewReader(p), client.PutOptions{Length: int64(len(p))})
		if err == nil {
			return loc
		}
		if wire.CodeOf(err) == 0 || ctx.Err() != nil {
			c.t.Fatalf("put of %d bytes: %v", len(p), err)
		}
	}
}

// Frames between the nodes, and to a client, are delayed, repeated, relabelled and damaged while
// extents are written, repaired, moved and deleted and a node is decommissioned. None is taken, every answer is
// right or a typed error, and in the end the cell is what its log says.
func TestTamperedCell(t *testing.T) {
	want := *tampered
	if testing.Short() {
		want /= 4
	}
	between := wiretest.New(wiretest.Config{Seed: *tamperSeed, Harmless: 0.2, Spoiled: 0.01})
	outside := wiretest.New(wiretest.Config{Seed: *tamperSeed + 1, Harmless: 0.2, Spoiled: 0.01})
	c := newCellWith(t, 3, 2, func(cfg *Config) { cfg.Dial = behind(between) })
	s := &storm{c: c, client: c.tamperedClient(outside)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	kept := map[wire.Locator][]byte{}
	for i := range 4 {
		// More than one piece: extents of their own, which the storm does not delete.
		p := pattern(uint64(1000+i), appendPiece+1+40_000*i)
		kept[c.putAmidTampering(p)] = p
	}
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx) })
	r := c.read(ctx, s.client, kept)
	total := func() int { a, b := between.Report(), outside.Report(); return a.Total() + b.Total() }
	c.churn(total, want)
	cancel()
	running.Wait()
	r.wg.Wait()
	c.settleTampered(s, kept)
	t.Logf("seed %d: between nodes %s", *tamperSeed, between.Report())
	t.Logf("to the client %s", outside.Report())
	t.Logf("%d reads were right, %d wrong, failed by code %v; %d operations, %d extents kept, %d deleted",
		r.right, r.wrong, r.failed, len(s.ops), len(s.kept)+len(kept), len(s.deleted))
	for _, report := range []wiretest.Report{between.Report(), outside.Report()} {
		for _, a := range report.Accepted {
			t.Errorf("accepted: %s", a)
		}
	}
	if r.right == 0 || between.Report().Spoiled == 0 || outside.Report().Spoiled == 0 {
		t.Error("nothing was read, or nothing spoiled: this run says nothing")
	}
	mismatches := uint64(0)
	for _, n := range c.nodes {
		mismatches += n.Mismatches()
	}
	if mismatches == 0 && want >= 1000 {
		t.Error("no node has counted a mismatch")
	}
}

// churn decommissions a node that is no voter and takes it back, again and again, until enough
// frames were tampered with, and at least once.
func (c *cell) churn(total func() int, want int) {
	for round := 0; round == 0 || total() < want; round++ {
		node := fmt.Sprintf("n%d", 4+round%2)
		for _, kind := range []string{"decommission", "recommission"} {
			ctx, cancel := context.WithTimeout(c.t.Context(), 4*patience)
			res, err := c.client.Submit(ctx, []wire.Submission{{Kind: kind, Node: node}}, client.SubmitOptions{})
			if err == nil && res[0].Code == 0 {
				_, err = c.client.Wait(ctx, []string{res[0].Op}, nil)
			}
			cancel()
			if err != nil {
				c.t.Errorf("%s of %s: %v\n%s", kind, node, err, c.describe())
				return
			}
		}
	}
}

// settleTampered waits until all is done, and compares the cell with what was put and deleted.
func (c *cell) settleTampered(s *storm, kept map[wire.Locator][]byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 6*patience)
	defer cancel()
	if _, err := c.client.Wait(ctx, s.ops, nil); err != nil {
		c.t.Fatalf("%v\n%s", err, c.describe())
	}
	c.whole()
	for loc, p := range s.kept {
		kept[loc] = p
	}
	for _, loc := range s.deleted {
		delete(kept, loc)
	}
	c.everyReplica(kept)
	c.noFiles(s.deleted)
	c.sameChain()
}

// noFiles waits until no node has a file of a deleted extent.
func (c *cell) noFiles(deleted []wire.Locator) {
	c.t.Helper()
	for id, n := range c.nodes {
		for _, loc := range deleted {
			if e := n.log.View().Extent(state.ExtentID(loc.Extent)); e != nil && e.State != state.ExtentDeleted {
				c.t.Errorf("extent %d was deleted, and is %s on %s", loc.Extent, e.State, id)
			}
		}
		c.untilTrue("no file of a deleted extent on "+id, func() bool {
			for _, loc := range deleted {
				if _, err := os.Stat(c.file(id, loc.Extent)); err == nil {
					return false
				}
			}
			return true
		})
	}
}
