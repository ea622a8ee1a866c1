package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/raftlog/logbench"
	"github.com/spf13/cobra"
)

const (
	bareCursor       = "bare cursor of the log's store"
	maxReadEntries   = 100_000_000
	heapSampledEvery = 5 * time.Millisecond
)

const benchLogReadHelp = `Measure how fast the log of a stopped node is read: a log of --entries entries is made in
--dir, of clients that create extents and delete the oldest; it is listed, filtered, counted, verified and applied
again. Beside that, over the same file: a cursor of the log's store that looks at nothing but the bytes, and a dump of
each entry as JSON through the store of the engine, as nomad operator raft logs makes it. Each is done --rounds times,
in turns; the fastest counts. The log is removed at the end.`

// logReadBench is what bench log-read measures.
type logReadBench struct {
	dir             string
	entries, rounds int
}

func newBenchLogReadCommand(a app) *cobra.Command {
	var b logReadBench
	cmd := &cobra.Command{
		Use: "log-read", Short: "Measure reading a stopped node's log beside its store's own cursor",
		Long: benchLogReadHelp, Args: cli.Takes(0, 0),
		Example: "  datanode bench log-read --entries 200000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.entries < 1 || b.entries > maxReadEntries {
				return exit.Usagef("--entries %d: want 1 to %d", b.entries, maxReadEntries)
			}
			if b.rounds < 1 {
				return exit.Usagef("--rounds %d: want 1 at least", b.rounds)
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
	cmd.Flags().IntVar(&b.entries, "entries", 200_000, "how many entries the log has")
	cmd.Flags().IntVar(&b.rounds, "rounds", 3, "how often each is measured")
	return cmd
}

// logReader is one way to read the log in a folder. It answers how many entries it came by.
type logReader struct {
	what string
	read func(ctx context.Context, dir string) (int, error)
}

func logReaders() []logReader {
	return []logReader{
		{bareCursor, func(_ context.Context, dir string) (int, error) { return logbench.Cursor(dir) }},
		{"JSON of each entry through the engine's store", func(_ context.Context, dir string) (int, error) {
			out := bufio.NewWriter(io.Discard)
			n, err := logbench.Dump(dir, out)
			return n, errors.Join(err, out.Flush())
		}},
		{"log ls, a table", listWith(term.FormatTable, logs.Filter{})},
		{"log ls -o jsonl", listWith(term.FormatLines, logs.Filter{})},
		{"log ls --by, of nobody", listWith(term.FormatLines, logs.Filter{By: []string{"nobody"}})},
		{"log ls --kind, of none", listWith(term.FormatLines, logs.Filter{Kinds: []string{"repair"}})},
		{"log stats", func(ctx context.Context, dir string) (int, error) {
			return withStored(dir, func(f *logs.Folder) (int, error) {
				none := logs.Filter{}
				st, err := logs.Count(ctx, f, logs.Range{}, none.Takes)
				return st.Entries, err
			})
		}},
		{"log verify", func(ctx context.Context, dir string) (int, error) {
			return withStored(dir, func(f *logs.Folder) (int, error) {
				v, err := f.Verify(ctx)
				if err == nil && !v.OK {
					err = errors.New(v.Detail)
				}
				return v.Entries, err
			})
		}},
		{"log replay", func(_ context.Context, dir string) (int, error) {
			return withStored(dir, func(f *logs.Folder) (int, error) {
				st, err := f.At(0)
				if err != nil {
					return 0, err
				}
				return int(st.Index()), nil
			})
		}},
	}
}

func withStored(dir string, read func(*logs.Folder) (int, error)) (n int, err error) {
	f, err := logs.OpenFolder(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return read(f)
}

// listWith lists all entries that a filter lets through, as log ls does, for nobody to see.
func listWith(format string, filter logs.Filter) func(context.Context, string) (int, error) {
	return func(ctx context.Context, dir string) (int, error) {
		return withStored(dir, func(f *logs.Folder) (int, error) {
			l := logListing{filter: filter, everything: true}
			if err := l.check(time.Now()); err != nil {
				return 0, err
			}
			to := &term.Terminal{Stdout: io.Discard, Output: format}
			return int(f.Last), term.List(to, l.selected(ctx, f), logColumns()...)
		})
	}
}

func (b *logReadBench) run(ctx context.Context) (all []figure, err error) {
	dir, err := os.MkdirTemp(b.dir, "datanode-bench-")
	if err != nil {
		return nil, exit.File(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	entries, err := logbench.Make(dir, b.entries)
	if err != nil {
		return nil, err
	}
	readers := logReaders()
	all = make([]figure, len(readers))
	for range b.rounds {
		for i, r := range readers {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			rate, peak, err := measureRead(ctx, dir, entries, r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.what, err)
			}
			if f := &all[i]; rate > f.PerSecond {
				*f = figure{What: fmt.Sprintf("%s, %d entries", r.what, entries), PerSecond: rate,
					Detail: fmt.Sprintf("up to %d MiB of heap", peak>>20)}
			}
		}
	}
	for i := 1; i < len(all); i++ {
		all[i].Ratio, all[i].Of = all[i].PerSecond/all[0].PerSecond, bareCursor
	}
	return all, nil
}

// measureRead reads a log once, from a heap that is clean.
func measureRead(ctx context.Context, dir string, entries int, r logReader) (rate float64, peak uint64, err error) {
	debug.FreeOSMemory()
	heap := watchHeap()
	began := time.Now()
	n, err := r.read(ctx, dir)
	took := time.Since(began)
	peak = heap()
	if err == nil && n != entries {
		err = fmt.Errorf("%d entries were read, want %d", n, entries)
	}
	return float64(n) / took.Seconds(), peak, err
}

// watchHeap looks at the heap until stop is called, which answers the most that there was.
func watchHeap() (stop func() uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	most, done := uint64(0), make(chan struct{})
	look := func() {
		metrics.Read(sample)
		most = max(most, sample[0].Value.Uint64())
	}
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(heapSampledEvery)
		defer tick.Stop()
		for {
			look()
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	return func() uint64 {
		close(done)
		running.Wait()
		look()
		return most
	}
}
