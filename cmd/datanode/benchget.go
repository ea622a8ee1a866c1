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
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const (
	benchPutters = 16 // puts under way at once, before anything is measured
	maxBenchSize = 1 << 20
)

const benchGetHelp = `Measure gets: how long callers wait who each read one small object after the other, from all
addresses of --addr in turns. The objects are put first, in extents of a class of their own, which are deleted at the
end. Run it alone and beside other work, in turns: only what was measured within minutes on one machine compares.`

// getBench is what bench get measures.
type getBench struct {
	callers, objects, size int
	each                   time.Duration
	class                  string // nobody else's: its extents are deleted at the end
}

func (b *getBench) check() error {
	switch {
	case b.callers < 1 || b.callers > 1000:
		return exit.Usagef("--callers %d: want 1 to 1000", b.callers)
	case b.objects < 1 || b.objects > 100_000:
		return exit.Usagef("--objects %d: want 1 to 100000", b.objects)
	case b.size < 1 || b.size > maxBenchSize:
		return exit.Usagef("--size %d: want 1 to %d bytes", b.size, maxBenchSize)
	case b.each <= 0:
		return exit.Usagef("--each %s: want more than 0", b.each)
	}
	return nil
}

// gotten is what was measured of gets. Times are microseconds.
type gotten struct {
	Callers   int     `json:"callers"`
	Bytes     int     `json:"bytes"`
	Calls     int     `json:"calls"`
	PerSecond float64 `json:"calls_per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	P999      float64 `json:"p999_us"`
	Max       float64 `json:"max_us"`
}

func newBenchGetCommand(a app) *cobra.Command {
	var b getBench
	cmd := &cobra.Command{
		Use: "get", Short: "Measure gets of small objects from a cell", Long: benchGetHelp, Args: cli.Takes(0, 0),
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := b.check(); err != nil {
				return err
			}
			b.class = fmt.Sprintf("bench-%08x", rand.Uint32())
			return a.benchGet(ctx, c, b)
		}),
	}
	cmd.Flags().IntVar(&b.callers, "callers", 4, "how many callers read at once")
	cmd.Flags().IntVar(&b.objects, "objects", 1000, "how many objects there are to read")
	cmd.Flags().IntVar(&b.size, "size", 4096, "bytes of an object")
	cmd.Flags().DurationVar(&b.each, "each", defaultBench, "how long it is measured")
	return cmd
}

func (a app) benchGet(ctx context.Context, c *client.Client, b getBench) (err error) {
	objects, err := b.put(ctx, c)
	defer func() { err = errors.Join(err, deleteExtents(context.WithoutCancel(ctx), c, objects)) }()
	if err != nil {
		return err
	}
	certificate, err := a.TLS()
	if err != nil {
		return err
	}
	readers := make([]*client.Client, b.callers)
	for i := range readers {
		addrs := a.Addrs()
		first := i % len(addrs)
		own := client.Options{Addrs: slices.Concat(addrs[first:], addrs[:first]), TLS: certificate, Name: "datanode bench"}
		readers[i] = client.New(own)
		defer readers[i].Close()
	}
	row, err := b.measure(ctx, readers, objects)
	if err != nil {
		return err
	}
	return term.List(a.Terminal, term.Items([]gotten{row}),
		term.Col("CALLERS", func(g gotten) string { return term.Count(g.Callers) }),
		term.Col("BYTES", func(g gotten) string { return term.Count(g.Bytes) }),
		term.Col("RATE", func(g gotten) string { return fmt.Sprintf("%.0f/s", g.PerSecond) }),
		term.Col("P50", benchMicros(func(g gotten) float64 { return g.P50 })),
		term.Col("P99", benchMicros(func(g gotten) float64 { return g.P99 })),
		term.Col("P999", benchMicros(func(g gotten) float64 { return g.P999 })),
		term.Col("MAX", benchMicros(func(g gotten) float64 { return g.Max })))
}

func benchMicros(of func(gotten) float64) func(gotten) string {
	return func(g gotten) string { return fmt.Sprintf("%.0fµs", of(g)) }
}

// put stores the objects. With an error come those that were stored.
func (b *getBench) put(ctx context.Context, c *client.Client) ([]wire.Locator, error) {
	locators, errs := make([]wire.Locator, b.objects), make([]error, benchPutters)
	var wg sync.WaitGroup
	for p := range benchPutters {
		wg.Go(func() {
			for i := p; i < b.objects && errs[p] == nil; i += benchPutters {
				object := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, b.size/2+1)[:b.size]
				locators[i], errs[p] = c.Put(ctx, bytes.NewReader(object), client.PutOptions{Class: b.class, Length: int64(b.size)})
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(locators, func(l wire.Locator) bool { return l.Extent == 0 }), errors.Join(errs...)
}

// deleteExtents deletes the extents that objects are in, and waits until they are gone.
func deleteExtents(ctx context.Context, c *client.Client, objects []wire.Locator) error {
	var deletes []wire.Submission
	seen := map[uint64]bool{}
	for _, l := range objects {
		if !seen[l.Extent] {
			seen[l.Extent] = true
			deletes = append(deletes, wire.Submission{Kind: "delete", Extent: l.Extent})
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

// measure lets each reader read for a second, and then until the time is up.
func (b *getBench) measure(ctx context.Context, readers []*client.Client, objects []wire.Locator) (gotten, error) {
	if _, err := b.read(ctx, readers, objects, min(b.each, time.Second)); err != nil {
		return gotten{}, err
	}
	took, err := b.read(ctx, readers, objects, b.each)
	if err != nil {
		return gotten{}, err
	}
	slices.Sort(took)
	n := len(took)
	at := func(perMille int) float64 {
		return float64(took[min(n*perMille/1000, n-1)]) / float64(time.Microsecond)
	}
	return gotten{Callers: b.callers, Bytes: b.size, Calls: n, PerSecond: float64(n) / b.each.Seconds(),
		P50: at(500), P99: at(990), P999: at(999), Max: at(1000)}, nil
}

// read answers how long each get took.
func (b *getBench) read(ctx context.Context, readers []*client.Client, objects []wire.Locator, length time.Duration) (
	[]time.Duration, error) {
	each, errs := make([][]time.Duration, len(readers)), make([]error, len(readers))
	begin := time.Now()
	var wg sync.WaitGroup
	for i, c := range readers {
		wg.Go(func() {
			for errs[i] == nil && time.Since(begin) < length {
				start := time.Now()
				_, errs[i] = c.Read(ctx, wire.ReadRequest{Locator: objects[rand.IntN(len(objects))]}, io.Discard)
				each[i] = append(each[i], time.Since(start))
			}
		})
	}
	wg.Wait()
	return slices.Concat(each...), errors.Join(errs...)
}
