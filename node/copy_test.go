package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// wentOn is what logs said of copies that go on from another source: at which offsets.
type wentOn struct {
	mu   sync.Mutex
	from []uint64 // Guarded by mu.
}

// passing is a handler that tells to what it passes on.
type passing struct {
	to *wentOn
	slog.Handler
}

func (p *passing) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "copy goes on from another source" {
		p.to.mu.Lock()
		defer p.to.mu.Unlock()
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "offset" {
				p.to.from = append(p.to.from, a.Value.Uint64())
			}
			return true
		})
	}
	return p.Handler.Handle(ctx, r)
}

func (p *passing) WithAttrs(as []slog.Attr) slog.Handler {
	return &passing{p.to, p.Handler.WithAttrs(as)}
}

func (p *passing) WithGroup(name string) slog.Handler {
	return &passing{p.to, p.Handler.WithGroup(name)}
}

func (w *wentOn) offsets() []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]uint64(nil), w.from...)
}

// copying is a cell of four with an extent that is being moved, at a pace that leaves time to do something meanwhile.
type copying struct {
	*cell
	went *wentOn
	want []byte
	loc  wire.Locator
	op   *state.Op
}

const (
	copyBytes = 24 << 20
	copyPace  = "1Mi" // a machine that stands still for some seconds must not find the copy done
)

// newCopying has a replica moved from a node to the one that has none, neither of which leads, and waits until that has
// the first bytes of it.
func newCopying(t *testing.T, change func(*Config)) *copying {
	t.Helper()
	c := &copying{want: pattern(1, copyBytes), went: &wentOn{}}
	c.cell = newCellWith(t, 3, 1, func(cfg *Config) {
		cfg.Logger = slog.New(&passing{to: c.went, Handler: cfg.Logger.Handler()})
		cfg.Settings["repair-delay"] = "720h" // nothing is copied but what this test moves
		change(cfg)
	})
	c.set("scrub-pace", "0") // it is the copy that meets damage
	c.set("copy-pace", copyPace)
	c.loc = c.sealed(c.want)
	e := c.any().log.View().Extent(state.ExtentID(c.loc.Extent))
	to := c.without(e)
	for c.leader() == to {
		c.moveLead()
	}
	from, leader := "", c.leader()
	for _, r := range e.Replicas {
		if id := string(r.Node); id != leader {
			from = id
		}
	}
	res, err := c.client.Submit(testContext(t),
		[]wire.Submission{{Kind: "move", Extent: c.loc.Extent, Node: from, Target: to}}, client.SubmitOptions{})
	if err != nil || res[0].Code != 0 {
		t.Fatalf("move: %v, %+v", err, res)
	}
	c.until("the move runs", func(n *Node) bool {
		n.log.View().Running(func(o *state.Op) bool {
			if o.Copies() {
				c.op = o
			}
			return true
		})
		return c.op != nil
	})
	if string(c.op.Source) != from {
		t.Fatalf("it is copied from %s, want %s", c.op.Source, from)
	}
	c.untilTrue("some is copied", func() bool { return c.staged() > 1<<20 })
	return c
}

// hurry lets the copy go on as fast as it can. It asks the leader, as another node may stand still.
func (c *copying) hurry() {
	c.t.Helper()
	if err := c.asAt(c.leader(), nil).SetSetting(testContext(c.t), "copy-pace", "0"); err != nil {
		c.t.Fatal(err)
	}
}

// ended waits until the copy has made a whole replica, having lost nothing of what it had. Attempts are how many it may
// take: one whose source is called down is ended by the log, and the next one has another.
func (c *copying) ended(attempts int) {
	c.t.Helper()
	c.hurry()
	target, was, o := c.nodes[string(c.op.Target)], c.staged(), (*state.Op)(nil)
	c.untilTrue("the copy is done", func() bool {
		o = target.log.View().Op(c.op.ID)
		if now := c.staged(); now != 0 && now < was {
			c.t.Fatalf("%d bytes were staged, and now %d are", was, now)
		}
		return o.State == state.OpDone
	})
	if int(o.Attempts) > attempts {
		c.t.Errorf("%d attempts, want %d: %+v", o.Attempts, attempts, o.Steps)
	}
	var got bytes.Buffer
	if err := c.readVia(string(c.op.Target), c.loc, &got); err != nil || !bytes.Equal(got.Bytes(), c.want) {
		c.t.Errorf("the new replica has %d bytes, %v", got.Len(), err)
	}
}

// staged is how long the file of the copy is; 0 when there is none.
func (c *copying) staged() int64 {
	info, err := c.nodes[string(c.op.Target)].store.Stat(extent.ID(c.loc.Extent))
	if err != nil {
		return 0
	}
	return info.StagingBytes
}

// wentOnOnce reports whether it went on from another source once, in the middle.
func (c *copying) wentOnOnce() {
	c.t.Helper()
	if from := c.went.offsets(); len(from) != 1 || from[0] == 0 || from[0] >= copyBytes {
		c.t.Errorf("it went on from another source at %v, want once, in the middle", from)
	}
}

// flipInPlace changes one byte of a file that is being read.
func flipInPlace(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// A source rots in the middle of a copy: nothing of the damaged record leaves it, and another replica goes on where it
// stopped.
func TestSourceRotsDuringCopy(t *testing.T) {
	t.Parallel()
	c := newCopying(t, func(*Config) {})
	flipInPlace(t, c.file(string(c.op.Source), c.loc.Extent), copyBytes-100_000)
	c.ended(1)
	c.wentOnOnce()
	c.whole()
	c.verified(c.loc.Extent, 3)
}

// A source ends in the middle of a copy: another replica goes on where it stopped.
func TestSourceEndsDuringCopy(t *testing.T) {
	t.Parallel()
	c := newCopying(t, func(*Config) {})
	c.kill(string(c.op.Source))
	c.ended(2)
	c.wentOnOnce()
}

// A source stands still in the middle of a copy, and says nothing of it. Others hear it, so that the log does not end
// the attempt: the copy itself must find out, and go on from another.
func TestSourceFreezesDuringCopy(t *testing.T) {
	t.Parallel()
	line := &oneWay{}
	c := newCopying(t, func(cfg *Config) { cfg.Dial = line.dialFor(cfg.Listen) })
	line.set(c.configs[string(c.op.Source)].Listen, c.configs[string(c.op.Target)].Listen)
	c.ended(1)
	c.wentOnOnce()
}

// A target stands still in the middle of a copy: that is made elsewhere, or by it when it is back, and goes on from
// what it has. Nothing is lost meanwhile, nor held up for good.
func TestTargetFreezesDuringCopy(t *testing.T) {
	t.Parallel()
	ice := newFrost()
	defer ice.end() // before the nodes are closed
	c := newCopying(t, func(cfg *Config) { ice.wrap(cfg); cfg.Settings["lease"] = "2s" })
	target := string(c.op.Target)
	ice.freeze(target)
	view := c.nodes[c.leader()].log.View
	c.untilTrue("its attempt is given up", func() bool {
		o := view().Op(c.op.ID)
		return o == nil || o.Fence != c.op.Fence || o.State != state.OpRunning
	})
	if _, err := c.get(c.loc, string(c.op.Source)); err != nil {
		t.Errorf("meanwhile: %v", err)
	}
	ice.end()
	c.hurry()
	c.until("moved", func(n *Node) bool { o := n.log.View().Op(c.op.ID); return o == nil || o.State == state.OpDone })
	c.whole()
	c.verified(c.loc.Extent, 3)
}
