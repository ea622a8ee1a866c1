package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/load"
	"github.com/datanode/datanode/raftlog/bare"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const (
	// bareEntryBytes is how long what the bare engine agrees on is, about as long as what a create puts into the log.
	bareEntryBytes = 200
	bareAlone      = "bare engine, an entry a call"
	benchPunched   = 3000 // objects that there are to delete by locator, for each number of callers
	createsAtOnce  = 1024 // of the extents that are deleted at once
	logClass       = "bench"
)

const benchLogHelp = `Measure the operation log: a cell of three processes of its own is started in --dir, and
callers, each over a connection of its own, create extents, delete extents, and delete objects by their locators, one
after the other: each is asked for, decided, agreed on, carried out on all disks and answered. In the same run, on the
same disk, callers have as many entries agreed on by the bare engine (hashicorp/raft, three nodes in one process, with
sockets between them): an entry a call, and with a committer that puts what waits into one entry. Last, one caller
deletes --extents extents at once. All is removed at the end.`

// logBench is what bench log measures.
type logBench struct {
	dir, program string
	callers      []int
	extents      int
	calls        int
	each, warmup time.Duration
}

func newBenchLogCommand(a app) *cobra.Command {
	var b logBench
	cmd := &cobra.Command{
		Use: "log", Short: "Measure creates and deletes beside the bare engine of the log", Long: benchLogHelp,
		Example: "  datanode bench log --dir /srv --callers 1,16",
		Args:    cli.Takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.check(); err != nil {
				return err
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
	flags := cmd.Flags()
	flags.StringVar(&b.dir, "dir", "", "a folder on the disk that is used (default: that of temporary files)")
	flags.StringVar(&b.program, "nodes", "", "the program that the nodes run, such as another build (default: this one)")
	flags.IntSliceVar(&b.callers, "callers", []int{1, 16, 64, 256}, "how many callers there are at once, in turns")
	flags.IntVar(&b.extents, "extents", 10_000, "how many extents are deleted at once at the end; 0: that is left out")
	flags.IntVar(&b.calls, "calls", 0, "how many calls each is measured with at most; 0: as many as there is time for")
	flags.DurationVar(&b.each, "each", defaultBench, "how long each is measured at most")
	flags.DurationVar(&b.warmup, "warmup", time.Second, "how long each is done before it is measured")
	return cmd
}

func (b *logBench) check() error {
	for _, n := range b.callers {
		if n < 1 || n > 1000 {
			return exit.Usagef("--callers %d: want 1 to 1000", n)
		}
	}
	switch {
	case len(b.callers) == 0:
		return exit.Usagef("--callers: want at least one number")
	case b.extents < 0 || b.extents > 1_000_000:
		return exit.Usagef("--extents %d: want 0 to 1000000", b.extents)
	case b.calls < 0:
		return exit.Usagef("--calls %d: want 0 or more", b.calls)
	case b.each <= 0:
		return exit.Usagef("--each %s: want more than 0", b.each)
	case b.warmup < 0:
		return exit.Usagef("--warmup %s: want 0 or more", b.warmup)
	}
	return nil
}

// load measures what n callers do. warm says that there is no need of a warm-up.
func (b *logBench) load(ctx context.Context, n int, warm bool, do func(context.Context, int) error) (load.Row, error) {
	l := load.Load{Callers: n, Warmup: b.warmup, Length: b.each}
	if warm {
		l.Warmup = 0
	}
	var begun atomic.Int64
	return l.Run(ctx, func(ctx context.Context, i int) error {
		if calls := begun.Add(1); b.calls > 0 && calls > int64(b.calls) {
			return load.ErrSpent
		}
		return do(ctx, i)
	})
}

func (b *logBench) run(ctx context.Context) (all []figure, err error) {
	dir, err := os.MkdirTemp(b.dir, "datanode-bench-")
	if err != nil {
		return nil, exit.File(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	engine, err := bare.Open(filepath.Join(dir, "bare"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	cell, err := startBenchCell(ctx, b.program, dir, benchVoters)
	defer cell.stop()
	if err != nil {
		return nil, err
	}
	for _, n := range b.callers {
		some, err := b.measure(ctx, engine, cell, n)
		if err != nil {
			return nil, fmt.Errorf("%d callers: %w; the nodes said: %s", n, err, cell.said())
		}
		all = append(all, some...)
	}
	if b.extents > 0 {
		some, err := b.many(ctx, cell)
		if err != nil {
			return nil, fmt.Errorf("%d extents: %w; the nodes said: %s", b.extents, err, cell.said())
		}
		all = append(all, some...)
	}
	return all, nil
}

// measure measures all that a number of callers do.
func (b *logBench) measure(ctx context.Context, engine *bare.Cell, cell *benchCell, n int) ([]figure, error) {
	data := make([]byte, bareEntryBytes)
	alone, err := b.load(ctx, n, false, func(context.Context, int) error { return engine.Alone(data) })
	if err != nil {
		return nil, err
	}
	together, err := b.load(ctx, n, false, func(context.Context, int) error { return engine.Together(data) })
	if err != nil {
		return nil, err
	}
	o := &logCallers{logBench: b}
	for i := range n {
		c := cell.clientAt(i)
		defer c.Close()
		o.callers = append(o.callers, c)
	}
	creates, err := o.creates(ctx)
	if err != nil {
		return nil, err
	}
	deletes, err := o.deletes(ctx)
	if err != nil {
		return nil, err
	}
	punches, err := o.punches(ctx)
	if err != nil {
		return nil, err
	}
	return []figure{
		logFigure(bareAlone, alone, load.Row{}), logFigure("bare engine, batching committer", together, alone),
		logFigure("creates", creates, alone), logFigure("deletes of extents", deletes, alone),
		logFigure("deletes by locator", punches, alone),
	}, nil
}

// logFigure is a row as a figure, with its ratio to another.
func logFigure(what string, row, to load.Row) figure {
	f := figure{
		What: fmt.Sprintf("%s, %d callers", what, row.Callers), PerSecond: row.PerSecond, P50: row.P50, P99: row.P99,
	}
	if to.PerSecond > 0 {
		f.Ratio, f.Of = row.PerSecond/to.PerSecond, bareAlone
	}
	if row.Errors > 0 {
		f.Detail = fmt.Sprintf("%d errors, the first: %s", row.Errors, row.Error)
	}
	return f
}

// logCallers are callers, and what they have made.
type logCallers struct {
	*logBench
	callers []*client.Client

	mu      sync.Mutex
	extents []uint64 // Guarded by mu. That were created and are not deleted yet.
}

// creates measures creates of extents.
func (o *logCallers) creates(ctx context.Context) (load.Row, error) {
	return o.load(ctx, len(o.callers), false, func(ctx context.Context, i int) error {
		return o.create(ctx, o.callers[i], 1)
	})
}

// create creates extents in one request.
func (o *logCallers) create(ctx context.Context, c *client.Client, count int) error {
	subs := make([]wire.Submission, count)
	for i := range subs {
		subs[i] = wire.Submission{Kind: "create", Class: logClass}
	}
	made, err := carriedOut(ctx, c, subs)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, op := range made {
		o.extents = append(o.extents, op.Extent)
	}
	return err
}

// deletes measures deletes of the extents that were created.
func (o *logCallers) deletes(ctx context.Context) (load.Row, error) {
	// There are only so many; the creates have opened the sessions.
	return o.load(ctx, len(o.callers), true, func(ctx context.Context, i int) error {
		id := o.takeExtent()
		if id == 0 {
			return load.ErrSpent
		}
		_, err := carriedOut(ctx, o.callers[i], []wire.Submission{{Kind: "delete", Extent: id, NoGrace: true}})
		return err
	})
}

func (o *logCallers) takeExtent() (id uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if last := len(o.extents) - 1; last >= 0 {
		id, o.extents = o.extents[last], o.extents[:last]
	}
	return id
}

// punches measures deletes by locator.
func (o *logCallers) punches(ctx context.Context) (load.Row, error) {
	count := benchPunched
	if o.calls > 0 {
		count = min(count, o.calls)
	}
	b := benchLoad{objects: count, size: 100, class: logClass}
	objects, err := b.put(ctx, o.callers[0])
	if err != nil {
		return load.Row{}, err
	}
	var next atomic.Int64
	return o.load(ctx, len(o.callers), true, func(ctx context.Context, i int) error {
		at := int(next.Add(1))
		if at > len(objects) {
			return load.ErrSpent
		}
		return deleteObjects(ctx, o.callers[i], objects[at-1:at])
	})
}

// many measures how fast one caller deletes many extents.
func (b *logBench) many(ctx context.Context, cell *benchCell) ([]figure, error) {
	o := &logCallers{logBench: b}
	c := cell.client()
	defer c.Close()
	for left := b.extents; left > 0; {
		n := min(left, createsAtOnce)
		if err := o.create(ctx, c, n); err != nil {
			return nil, err
		}
		left -= n
	}
	subs := make([]wire.Submission, len(o.extents))
	for i, id := range o.extents {
		subs[i] = wire.Submission{Kind: "delete", Extent: id, NoGrace: true}
	}
	began := time.Now()
	if _, err := carriedOut(ctx, c, subs); err != nil {
		return nil, err
	}
	return []figure{{
		What:      fmt.Sprintf("deletes of %d extents at once, 1 caller", len(subs)),
		PerSecond: float64(len(subs)) / time.Since(began).Seconds(),
	}}, nil
}

// carriedOut asks for operations and waits until all are done. It answers those that are, also with an error.
func carriedOut(ctx context.Context, c *client.Client, subs []wire.Submission) (done []wire.Op, err error) {
	results, err := c.Submit(ctx, subs, client.SubmitOptions{})
	var ids []string
	for _, r := range results {
		if refused := client.Refusal(r); refused != nil {
			err = cmp.Or(err, refused)
			continue
		}
		ids = append(ids, r.Op)
	}
	ops, waitErr := c.Wait(ctx, ids, nil)
	err = cmp.Or(err, waitErr)
	for _, op := range ops {
		if op.State == "done" {
			done = append(done, op)
		} else if err == nil {
			err = fmt.Errorf("operation %s, a %s, is %s: %s", op.ID, op.Kind, op.State, op.Detail)
		}
	}
	return done, err
}
