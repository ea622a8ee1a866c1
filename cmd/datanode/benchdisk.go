package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/wire/rpcbench"
	"github.com/spf13/cobra"
)

const (
	benchBlock     = 4096    // of an append
	benchPiece     = 1 << 20 // of a sequential write
	maxBenchMiB    = 1 << 20
	benchPlainCopy = "io-copy"
)

const benchDiskHelp = `Measure the limits that puts, gets and repairs have on this machine: how often a file of 4 KiB
appends is synced, how fast a disk is written past the cache and through it with one sync at the end, how fast the
standard library copies over loopback, and how fast bytes are summed. Needs no cell. --dir says on which disk: files are
made there, and removed.`

// diskBench is what bench disk measures.
type diskBench struct {
	dir  string
	mib  int
	each time.Duration
}

func newBenchDiskCommand(a app) *cobra.Command {
	var b diskBench
	cmd := &cobra.Command{
		Use: "disk", Short: "Measure the limits of a disk, loopback and checksums", Long: benchDiskHelp,
		Example: "  datanode bench disk --dir /srv",
		Args:    cli.Takes(0, 0),
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
	cmd.Flags().StringVar(&b.dir, "dir", ".", "a folder on the disk that is measured")
	cmd.Flags().IntVar(&b.mib, "mib", 256, "how much is written in order")
	cmd.Flags().DurationVar(&b.each, "each", defaultBench, "how long everything else is measured")
	return cmd
}

func (b diskBench) run(ctx context.Context) (all []figure, err error) {
	dir, err := os.MkdirTemp(b.dir, "datanode-bench-")
	if err != nil {
		return nil, exit.File(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "file")
	for _, measure := range []func(context.Context, string) (figure, error){
		b.appends, b.direct, b.buffered, b.loopback, b.sums,
	} {
		f, err := measure(ctx, file)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// appends appends blocks to a file, each of which is synced before the next one is written.
func (b diskBench) appends(ctx context.Context, file string) (figure, error) {
	f, err := os.Create(file)
	if err != nil {
		return figure{}, exit.File(err)
	}
	defer closeAndRemove(f)
	block, begin := make([]byte, benchBlock), time.Now()
	var took []time.Duration
	for time.Since(begin) < b.each && ctx.Err() == nil {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return figure{}, exit.File(err)
		}
		if err := datasync(f); err != nil {
			return figure{}, exit.File(err)
		}
		took = append(took, time.Since(start))
	}
	rate := float64(len(took)) / time.Since(begin).Seconds()
	slices.Sort(took)
	at := func(perCent int) float64 {
		return float64(took[min(len(took)*perCent/100, len(took)-1)]) / float64(time.Microsecond)
	}
	if len(took) == 0 {
		return figure{}, ctx.Err()
	}
	return figure{What: "appends of 4 KiB to one file, a sync for each", PerSecond: rate,
		BytesPerSecond: rate * benchBlock, P50: at(50), P99: at(99)}, nil
}

// direct writes a file past the cache of the system.
func (b diskBench) direct(ctx context.Context, file string) (figure, error) {
	const what = "one sequential writer, O_DIRECT, 1 MiB at a time"
	f, err := openDirect(file)
	if err != nil {
		return figure{What: what, Detail: "not here: " + err.Error()}, nil
	}
	defer closeAndRemove(f)
	rate, err := b.sequential(ctx, f)
	return figure{What: what, BytesPerSecond: rate}, err
}

// buffered writes a file through the cache of the system.
func (b diskBench) buffered(ctx context.Context, file string) (figure, error) {
	f, err := os.Create(file)
	if err != nil {
		return figure{}, exit.File(err)
	}
	defer closeAndRemove(f)
	rate, err := b.sequential(ctx, f)
	return figure{What: "one sequential writer, one sync at the end", BytesPerSecond: rate}, err
}

// sequential writes the file from its beginning and syncs it, and answers bytes a second.
func (b diskBench) sequential(ctx context.Context, f *os.File) (float64, error) {
	piece, begin := aligned(benchPiece), time.Now()
	for range b.mib {
		if _, err := f.Write(piece); err != nil {
			return 0, exit.File(err)
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	if err := datasync(f); err != nil {
		return 0, exit.File(err)
	}
	return float64(b.mib) * benchPiece / time.Since(begin).Seconds(), nil
}

// aligned are n bytes at an address that files past the cache can be written from.
func aligned(n int) []byte {
	all := make([]byte, n+benchBlock)
	skip := int(-uintptr(unsafe.Pointer(&all[0])) % benchBlock)
	piece := all[skip : skip+n]
	for i := range piece {
		piece[i] = byte(i ^ i>>8)
	}
	return piece
}

func closeAndRemove(f *os.File) { _ = errors.Join(f.Close(), os.Remove(f.Name())) } // the folder is removed after it

// loopback copies between two processes as the standard library does.
func (b diskBench) loopback(ctx context.Context, _ string) (_ figure, err error) {
	p, _ := rpcbench.Find(rpcbench.Peers(), benchPlainCopy)
	s, err := startBenchServer(ctx, p.Name)
	if err != nil {
		return figure{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	rate, err := rpcbench.MeasureStream(ctx, p, s, b.each)
	return figure{What: "io.Copy over loopback, between two processes", BytesPerSecond: rate}, err
}

// sums sums bytes that are in the processor's cache.
func (b diskBench) sums(ctx context.Context, _ string) (figure, error) {
	piece, begin, n := aligned(1<<16), time.Now(), 0
	for sum := uint32(0); time.Since(begin) < b.each && ctx.Err() == nil; n++ {
		sum ^= crc32c.Sum(piece)
	}
	rate := float64(n) * float64(len(piece)) / time.Since(begin).Seconds()
	return figure{What: "CRC32C of 64 KiB", BytesPerSecond: rate}, nil
}
