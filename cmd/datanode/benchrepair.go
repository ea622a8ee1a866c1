package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/load"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const (
	repairNodes     = benchVoters + 2 // one to lose alone, one to lose beside clients
	repairObjectMiB = 32
	repairCallers   = 4
	repairKind      = "repair"
)

const benchRepairHelp = `Measure repairs: a cell of five processes of its own is started in --dir, filled, and loses two
nodes one after the other, the second one while clients read small objects. What is copied a second, from the start of
the first repair to the end of the last, is compared with one sequential writer to the same disk that syncs at the end,
and how long the clients wait with how long they wait alone. All is removed at the end.`

// repairBench is what bench repair measures.
type repairBench struct {
	dir  string
	mib  int
	each time.Duration
}

func newBenchRepairCommand(a app) *cobra.Command {
	var b repairBench
	cmd := &cobra.Command{
		Use: "repair", Short: "Measure how fast a lost node is repaired", Long: benchRepairHelp, Args: cli.Takes(0, 0),
		Example: "  datanode bench repair --dir /srv --mib 512",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.mib < 1 || b.mib > maxBenchMiB {
				return exit.Usagef("--mib %d: want 1 to %d", b.mib, maxBenchMiB)
			}
			if b.each <= 0 {
				return exit.Usagef("--each %s: want more than 0", b.each)
			}
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			all, err := b.run(ctx)
			if err != nil {
				return a.TimedOut(ctx, err)
			}
			return a.listFigures(all)
		},
	}
	cmd.Flags().StringVar(&b.dir, "dir", "", "a folder on the disk that is used (default: that of temporary files)")
	cmd.Flags().IntVar(&b.mib, "mib", 512, "how much the cell holds, three times")
	cmd.Flags().DurationVar(&b.each, "each", defaultBench, "how long gets alone are measured")
	return cmd
}

// repairing is a bench repair under way.
type repairing struct {
	repairBench
	cell  *benchCell
	c     *client.Client
	gets  benchLoad
	small []wire.Locator
}

func (b repairBench) run(ctx context.Context) (all []figure, err error) {
	dir, err := os.MkdirTemp(b.dir, "datanode-bench-")
	if err != nil {
		return nil, exit.File(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cell, err := startBenchCell(ctx, "", dir, repairNodes)
	defer cell.stop()
	if err != nil {
		return nil, err
	}
	r := repairing{repairBench: b, cell: cell, c: cell.client()}
	r.gets = benchLoad{callers: repairCallers, objects: 500, size: 4096, class: "bench", each: b.each}
	defer r.c.Close()
	if err := r.fill(ctx); err != nil {
		return nil, err
	}
	return r.measure(ctx, dir)
}

// fill lets lost nodes be repaired at once, and puts what is then repaired and read.
func (r *repairing) fill(ctx context.Context) error {
	for _, s := range [][2]string{{"repair-delay", "1ms"}, {"scrub-pace", "0"}} {
		if err := r.c.SetSetting(ctx, s[0], s[1]); err != nil {
			return err
		}
	}
	object := aligned(min(r.mib, repairObjectMiB) << 20)
	for left, i := r.mib<<20, 0; left > 0; i++ {
		object = object[:min(left, len(object))]
		left -= len(object)
		if err := r.put(ctx, r.cell.addrs[i%repairNodes], object); err != nil {
			return err
		}
	}
	small, err := r.gets.put(ctx, r.c)
	r.small = small
	return err
}

// put puts an object to one node, so that each has some of which it is the primary.
func (r *repairing) put(ctx context.Context, addr string, object []byte) error {
	c := clientOf([]string{addr})
	defer c.Close()
	_, err := c.Put(ctx, bytes.NewReader(object), client.PutOptions{Length: int64(len(object))})
	return err
}

func (r *repairing) measure(ctx context.Context, dir string) ([]figure, error) {
	const alone = "sequential writer"
	writer, err := diskBench{mib: r.mib}.buffered(ctx, dir+"/file")
	if err != nil {
		return nil, err
	}
	quiet, err := r.lose(ctx, repairNodes-1, func(repaired func() error) error { return repaired() })
	if err != nil {
		return nil, err
	}
	gets, err := r.read(ctx, r.each, nil)
	if err != nil {
		return nil, err
	}
	var beside load.Row
	busy, err := r.lose(ctx, repairNodes-2, func(repaired func() error) (err error) {
		beside, err = r.readUntil(ctx, repaired)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []figure{writer,
		{What: "repair of a lost node", BytesPerSecond: quiet, Ratio: quiet / writer.BytesPerSecond, Of: alone},
		{What: fmt.Sprintf("gets of 4 KiB, %d callers", repairCallers), PerSecond: gets.PerSecond, P50: gets.P50,
			P99: gets.P99},
		{What: "repair of a lost node beside gets", BytesPerSecond: busy, Ratio: busy / writer.BytesPerSecond,
			Of: alone},
		{What: "gets beside the repair", PerSecond: beside.PerSecond, P50: beside.P50, P99: beside.P99,
			Ratio: beside.P99 / gets.P99, Of: "p99 alone"},
	}, nil
}

// readUntil lets callers read until all is repaired.
func (r *repairing) readUntil(ctx context.Context, repaired func() error) (load.Row, error) {
	var over atomic.Bool
	failed := make(chan error, 1)
	go func() {
		err := repaired()
		over.Store(true)
		failed <- err
	}()
	row, err := r.read(ctx, time.Hour, &over)
	return row, cmp.Or(<-failed, err)
}

// read lets callers read small objects, until over if that is not nil, and one at least.
func (r *repairing) read(ctx context.Context, length time.Duration, over *atomic.Bool) (load.Row, error) {
	callers := make([]*client.Client, repairCallers)
	for i := range callers {
		callers[i] = r.cell.client()
		defer callers[i].Close()
	}
	l := r.gets.load()
	l.Length = length
	asked := make([]bool, len(callers)) // each is its caller's
	return l.Run(ctx, func(ctx context.Context, i int) error {
		if over != nil && over.Load() && asked[i] {
			return load.ErrSpent
		}
		asked[i] = true
		_, err := callers[i].Read(ctx, wire.ReadRequest{Locator: r.small[rand.IntN(len(r.small))]}, io.Discard)
		return err
	})
}

// lose kills a node, has meanwhile called when the first repair begins, which waits until all is repaired, and answers
// bytes copied a second.
func (r *repairing) lose(ctx context.Context, node int, meanwhile func(repaired func() error) error) (float64, error) {
	since, err := r.lastOp(ctx)
	if err != nil {
		return 0, err
	}
	r.cell.kill(node)
	err = benchAwait(ctx, func() (bool, error) {
		for op, err := range r.c.Ops(ctx, wire.OpsRequest{After: since}) {
			if err != nil || op.Kind == repairKind && op.State != "queued" {
				return err == nil, err
			}
		}
		return false, nil
	})
	if err == nil {
		err = meanwhile(func() error {
			return benchAwait(ctx, func() (bool, error) { return r.whole(ctx, local.ID(node)) })
		})
	}
	if err != nil {
		return 0, fmt.Errorf("the loss of %s is not repaired: %w; the nodes said: %s", local.ID(node), err, r.cell.said())
	}
	return r.rate(ctx, since)
}

// whole reports whether a node is not needed for anything.
func (r *repairing) whole(ctx context.Context, node string) (bool, error) {
	for e, err := range r.c.Extents(ctx, wire.ExtentsRequest{}) {
		if err != nil {
			return false, err
		}
		if e.State == "deleted" {
			continue
		}
		if e.State != "sealed" && len(e.Ops) > 0 || e.Live < e.Want {
			return false, nil
		}
		for _, replica := range e.Replicas {
			if replica.Node == node {
				return false, nil
			}
		}
	}
	return true, nil
}

func (r *repairing) lastOp(ctx context.Context) (string, error) {
	last := ""
	for op, err := range r.c.Ops(ctx, wire.OpsRequest{}) {
		if err != nil {
			return "", err
		}
		last = op.ID
	}
	return last, nil
}

// rate is what the repairs after an operation have copied a second, from the first start to the last end.
func (r *repairing) rate(ctx context.Context, since string) (float64, error) {
	var first, last int64
	var copied uint64
	for op, err := range r.c.Ops(ctx, wire.OpsRequest{After: since}) {
		if err != nil {
			return 0, err
		}
		if op.Kind != repairKind || op.State != "done" {
			continue
		}
		e, err := r.c.Extent(ctx, op.Extent)
		if err != nil {
			return 0, err
		}
		copied += e.Length
		last = max(last, op.Ended)
		if first == 0 || op.Started < first {
			first = op.Started
		}
	}
	if last <= first {
		return 0, errors.New("nothing was repaired: the lost node held nothing; give more with --mib")
	}
	return float64(copied) / (float64(last-first) / 1e6), nil
}
