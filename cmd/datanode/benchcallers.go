package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/load"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const (
	benchPutters  = 16 // puts under way at once, where puts are not what is measured
	maxBenchBytes = 1 << 30
	benchClass    = "bench-" // of objects of a benchmark, before what makes it nobody else's
)

// benchLoad is what bench put, get and delete share: who does it, to what, and for how long.
type benchLoad struct {
	callers, objects, size int
	each, warmup           time.Duration
	pids                   []int
	class                  string // nobody else's: its extents are deleted at the end
}

func (b *benchLoad) flags(cmd *cobra.Command, callers int) {
	flags := cmd.Flags()
	flags.IntVar(&b.callers, "callers", callers, "how many callers there are at once")
	flags.IntVar(&b.size, "size", 4096, "bytes of an object")
	flags.DurationVar(&b.each, "each", defaultBench, "how long it is measured")
	flags.DurationVar(&b.warmup, "warmup", time.Second, "how long it is done before it is measured")
	flags.IntSliceVar(&b.pids, "pid", nil,
		"processes of the nodes, if they are on this machine: what processor time they use is measured too")
}

func (b *benchLoad) check() error {
	switch {
	case b.callers < 1 || b.callers > 1000:
		return exit.Usagef("--callers %d: want 1 to 1000", b.callers)
	case b.size < 1 || b.size > maxBenchBytes:
		return exit.Usagef("--size %d: want 1 to %d bytes", b.size, maxBenchBytes)
	case b.each <= 0:
		return exit.Usagef("--each %s: want more than 0", b.each)
	case b.warmup < 0:
		return exit.Usagef("--warmup %s: want 0 or more", b.warmup)
	}
	return nil
}

func (b *benchLoad) checkObjects() error {
	if b.objects < 1 || b.objects > 1_000_000 {
		return exit.Usagef("--objects %d: want 1 to 1000000", b.objects)
	}
	return b.check()
}

func (b *benchLoad) load() load.Load {
	return load.Load{Callers: b.callers, Warmup: b.warmup, Length: b.each, Servers: b.pids, Bytes: b.size}
}

// benched does and measures what a command is about. c is for what is not measured.
type benched func(ctx context.Context, c *client.Client, callers []*client.Client) (load.Row, error)

// bench measures what act makes, with a client for each caller, and then deletes the extents of the class.
func (a app) bench(b *benchLoad, check func() error, act benched) func(*cobra.Command, []string) error {
	return a.WithClient(func(ctx context.Context, c *client.Client, _ []string) (err error) {
		if err := check(); err != nil {
			return err
		}
		b.class = fmt.Sprintf("%s%08x", benchClass, rand.Uint32())
		callers, closeAll, err := a.benchClients(b.callers)
		if err != nil {
			return err
		}
		defer closeAll()
		defer func() { err = errors.Join(err, deleteClass(context.WithoutCancel(ctx), c, b.class)) }()
		row, err := act(ctx, c, callers)
		if err != nil {
			return err
		}
		return a.listLoads(row)
	})
}

// benchClients makes a client for each caller; they begin at all addresses in turns.
func (a app) benchClients(n int) (clients []*client.Client, closeAll func(), err error) {
	certificate, err := a.TLS()
	if err != nil {
		return nil, nil, err
	}
	addrs := a.Addrs()
	if len(addrs) == 0 {
		addrs = []string{client.DefaultAddr}
	}
	for i := range n {
		first := i % len(addrs)
		own := client.Options{Addrs: slices.Concat(addrs[first:], addrs[:first]), TLS: certificate, Name: "datanode bench"}
		clients = append(clients, client.New(own))
	}
	return clients, func() {
		for _, c := range clients {
			_ = c.Close() // the measurement is over
		}
	}, nil
}

func (a app) listLoads(rows ...load.Row) error {
	return term.List(a.Terminal, term.Items(rows),
		term.Col("CALLERS", func(r load.Row) string { return term.Count(r.Callers) }),
		term.Col("BYTES", func(r load.Row) string { return term.Count(r.Bytes) }),
		term.Col("RATE", func(r load.Row) string { return fmt.Sprintf("%.0f/s", r.PerSecond) }),
		term.Col("MB/S", func(r load.Row) string { return fmt.Sprintf("%.1f", r.BytesPerSecond/1e6) }),
		term.Col("P50", benchMicros(func(r load.Row) float64 { return r.P50 })),
		term.Col("P99", benchMicros(func(r load.Row) float64 { return r.P99 })),
		term.Col("P999", benchMicros(func(r load.Row) float64 { return r.P999 })),
		term.Col("MAX", benchMicros(func(r load.Row) float64 { return r.Max })),
		term.Col("SERVERS", benchCost(func(r load.Row) float64 { return r.ServerTime })),
		term.Col("CLIENT", benchCost(func(r load.Row) float64 { return r.ClientTime })),
		term.Col("ERRORS", func(r load.Row) string { return term.Count(r.Errors) }),
		term.Col("FIRST-ERROR", func(r load.Row) string { return cmp.Or(r.Error, "-") }))
}

func benchMicros(of func(load.Row) float64) func(load.Row) string {
	return func(r load.Row) string { return fmt.Sprintf("%.0fµs", of(r)) }
}

// benchCost is processor time for an object, where it was measured.
func benchCost(of func(load.Row) float64) func(load.Row) string {
	return func(r load.Row) string {
		if of(r) == 0 {
			return "-"
		}
		return benchMicros(of)(r)
	}
}

// object is what the i-th object holds.
func (b *benchLoad) object(i int) []byte {
	return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, b.size/2+1)[:b.size]
}

// put stores the objects that others read or delete.
func (b *benchLoad) put(ctx context.Context, c *client.Client) ([]wire.Locator, error) {
	locators, errs := make([]wire.Locator, b.objects), make([]error, benchPutters)
	var wg sync.WaitGroup
	for p := range benchPutters {
		wg.Go(func() {
			for i := p; i < b.objects && errs[p] == nil; i += benchPutters {
				locators[i], errs[p] = b.putOne(ctx, c, b.object(i))
			}
		})
	}
	wg.Wait()
	return locators, errors.Join(errs...)
}

func (b *benchLoad) putOne(ctx context.Context, c *client.Client, object []byte) (wire.Locator, error) {
	return c.Put(ctx, bytes.NewReader(object), client.PutOptions{Class: b.class, Length: int64(len(object))})
}

// deleteClass deletes all extents of a class, those of puts whose answer never came too, and waits until they are gone.
func deleteClass(ctx context.Context, c *client.Client, class string) error {
	var deletes []wire.Submission
	for e, err := range c.Extents(ctx, wire.ExtentsRequest{}) {
		if err != nil {
			return err
		}
		if e.Class == class && e.State != "deleted" {
			deletes = append(deletes, wire.Submission{Kind: "delete", Extent: e.ID, NoGrace: true})
		}
	}
	if len(deletes) == 0 {
		return nil
	}
	results, err := c.Submit(ctx, deletes, client.SubmitOptions{})
	var ops []string
	for _, r := range results {
		err = cmp.Or(err, client.Refusal(r))
		if r.Code == 0 {
			ops = append(ops, r.Op)
		}
	}
	if err != nil {
		return err
	}
	_, err = c.Wait(ctx, ops, nil)
	return err
}

const benchGetHelp = `Measure gets: how long callers wait who each read one object after the other, each over a
connection of its own, from all addresses of --addr in turns. The objects are put first, in extents of a class of their
own, which are deleted at the end. Run it alone and beside other work, in turns: only what was measured within minutes
on one machine compares.`

func newBenchGetCommand(a app) *cobra.Command {
	var b benchLoad
	cmd := &cobra.Command{
		Use: "get", Short: "Measure gets from a cell", Long: benchGetHelp, Args: cli.Takes(0, 0),
		Example: "  datanode bench get --callers 16 --size 4096",
		RunE:    a.bench(&b, b.checkObjects, b.gets),
	}
	b.flags(cmd, 4)
	cmd.Flags().IntVar(&b.objects, "objects", 1000, "how many objects there are to read")
	return cmd
}

// gets puts the objects, and measures how they are read.
func (b *benchLoad) gets(ctx context.Context, c *client.Client, callers []*client.Client) (load.Row, error) {
	objects, err := b.put(ctx, c)
	if err != nil {
		return load.Row{}, err
	}
	return b.load().Run(ctx, func(ctx context.Context, i int) error {
		_, err := callers[i].Read(ctx, wire.ReadRequest{Locator: objects[rand.IntN(len(objects))]}, io.Discard)
		return err
	})
}

const benchPutHelp = `Measure puts: how long callers wait who each put one object after the other, each over a
connection of its own, to all addresses of --addr in turns, until it is durable on all replicas. The objects are in
extents of a class of their own, which are deleted at the end.`

func newBenchPutCommand(a app) *cobra.Command {
	var b benchLoad
	cmd := &cobra.Command{
		Use: "put", Short: "Measure puts to a cell", Long: benchPutHelp, Args: cli.Takes(0, 0),
		Example: "  datanode bench put --callers 16 --size 65536 --each 10s",
		RunE:    a.bench(&b, b.check, b.puts),
	}
	b.flags(cmd, 16)
	return cmd
}

// puts measures how objects are stored.
func (b *benchLoad) puts(ctx context.Context, _ *client.Client, callers []*client.Client) (load.Row, error) {
	objects := make([][]byte, len(callers))
	for i := range objects {
		objects[i] = b.object(i)
	}
	return b.load().Run(ctx, func(ctx context.Context, i int) error {
		_, err := b.putOne(ctx, callers[i], objects[i])
		return err
	})
}
