package node

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// heard collects what a node logs.
type heard struct {
	slog.Handler
	mu    *sync.Mutex
	lines *[]string // Guarded by mu.
}

func (h heard) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	*h.lines = append(*h.lines, r.Message)
	h.mu.Unlock()
	return h.Handler.Handle(ctx, r)
}

func (h heard) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h heard) has(text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, line := range *h.lines {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// hearing makes a cell whose nodes' log lines can be looked through.
func hearing(t *testing.T) (*cell, heard) {
	h := heard{
		slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}),
		new(sync.Mutex), new([]string),
	}
	return newCellWith(t, 3, 0, func(c *Config) { c.Logger = slog.New(h) }), h
}

// putBack copies a stopped node's folder, or a part of it.
func putBack(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

const comparesFirst = "older than what the cell counts on"

// A folder, or its store alone, is put back from a copy that was made before the last puts. The node serves only once
// everything in it was compared with the log, and nothing that was acknowledged is lost.
func TestOlderStore(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"", "store"} {
		t.Run("folder/"+part, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			c, h := hearing(t)
			acked := map[wire.Locator][]byte{}
			put := func(n int) {
				for range 4 {
					p := pattern(r.Uint64(), 1+r.IntN(n))
					acked[c.put(p)] = p
				}
			}
			put(100_000)
			put(3 << 20)
			from := filepath.Join(c.configs["n3"].Dir, part)
			older := t.TempDir()
			c.kill("n3")
			putBack(t, from, older)
			c.start("n3")
			c.ready("n3")
			c.up(3)
			if h.has(comparesFirst) {
				t.Fatal("a folder that is as it was left is said to be older")
			}
			put(100_000)
			put(3 << 20)
			c.whole()
			c.kill("n3")
			putBack(t, older, from)
			c.start("n3")
			c.ready("n3")
			if !h.has(comparesFirst) {
				t.Error("nobody has noticed")
			}
			c.whole()
			for loc, want := range acked {
				if got, err := c.get(loc, ""); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%+v: %d of %d bytes, %v\n%s", loc, len(got), len(want), err, c.describe())
				}
			}
			c.sealAll()
			c.everyReplica(acked)
		})
	}
}

// sealAll has every open extent sealed and waits until all have their replicas.
func (c *cell) sealAll() {
	c.t.Helper()
	var open []uint64
	c.any().log.View().Extents(0, func(e *state.Extent) bool {
		if e.State == state.ExtentOpen {
			open = append(open, uint64(e.ID))
		}
		return true
	})
	for _, id := range open {
		c.sealOpen(id)
	}
	c.whole()
}

// Crashes do not make a folder older, whenever they come: not before a node has joined, not all at once, not again
// and again.
func TestCrashesAreNoOlderFolder(t *testing.T) {
	t.Parallel()
	c, h := hearing(t)
	loc := c.put(pattern(1, 1000))
	for range 3 {
		for _, id := range []string{"n1", "n2", "n3"} {
			c.kill(id)
		}
		for range 2 { // alone, it cannot join
			c.start("n2")
			c.kill("n2")
		}
		for _, id := range []string{"n1", "n2", "n3"} {
			c.start(id)
		}
		for _, id := range []string{"n1", "n2", "n3"} {
			c.ready(id)
		}
		c.up(3)
	}
	if h.has(comparesFirst) {
		t.Error("a crash is taken for an older folder")
	}
	if got, err := c.get(loc, ""); err != nil || len(got) != 1000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
