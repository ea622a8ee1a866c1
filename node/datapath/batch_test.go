package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// bench is a data path of one node, whose appends the test sees and ends one by one. It lives in a bubble of synctest.
type bench struct {
	*testing.T
	path    *Path
	store   *extent.Store
	cell    *statetest.Cell
	appends chan *flight
	mu      sync.Mutex
	free    []state.ExtentID // guarded by mu; that creates come to, one after the other; then the quotas leave no more
}

// flight is one append that waits for its replicas.
type flight struct {
	extent *state.Extent
	each   func(state.NodeID) error
	end    chan error
}

// land lets the replica append and answer, and then the append of all fail with err, if that is not nil.
func (f *flight) land(t *testing.T, err error) {
	t.Helper()
	if ours := f.each("n1"); ours != nil {
		t.Errorf("append to extent %d: %v", f.extent.ID, ours)
	}
	f.end <- err
}

func newBench(t *testing.T, extents int) *bench {
	b := &bench{T: t, cell: statetest.New(), appends: make(chan *flight)}
	mem, c := vfs.NewMem(), clock.Of(mux.Clock{})
	var err error
	if b.store, _, err = extent.Open(mem, "/d", extent.Options{}); err != nil {
		t.Fatal(err)
	}
	b.cell.RunAll("join n1")
	for i := range extents {
		b.free = append(b.free, state.ExtentID(i+1))
		b.cell.RunAll("create on=n1 origin=cell\nstart create\nfinish create done")
	}
	disk, err := diskspace.Open(diskspace.Options{FS: mem, Dir: "/d", Node: "n1", Logger: slog.New(slog.DiscardHandler),
		Reserve: func() (uint64, bool) { return 0, false }})
	if err != nil {
		t.Fatal(err)
	}
	works := func() error { return nil }
	b.path = New(Options{
		ID: "n1", Log: still{b.cell}, Store: b.store, Clock: c, Works: works, InTouch: works, CreatePatience: time.Minute,
		StepLimit: time.Minute, Quotas: quota.New(quota.Options{View: still{b.cell}.View}), Share: diskshare.New(c),
		Space: disk, Reach: replica.NewReachability(replica.ReachabilityOptions{Clock: c}), Create: b.create,
		Each: func(e *state.Extent, f func(state.NodeID) error) map[state.NodeID]error {
			fl := &flight{e, f, make(chan error)}
			b.appends <- fl
			return map[state.NodeID]error{"n1": nil, "n2": <-fl.end}
		},
	})
	return b
}

// create hands out the extents that there are.
func (b *bench) create(context.Context, wire.Submission) (wire.Submitted, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.free) == 0 {
		return wire.Submitted{}, wire.Errorf(wire.OpSubmit, wire.CodeQuota, "there are extents enough")
	}
	id := b.free[0]
	b.free = b.free[1:]
	e := b.cell.State.Extent(id)
	if err := b.store.Create(extent.ID(id), extent.Fence(e.Epoch), extent.Birth(e.Birth())); err != nil {
		return wire.Submitted{}, err
	}
	var made state.OpID
	b.cell.State.View.Ops(0, func(o *state.Op) bool {
		if o.Extent == id {
			made = o.ID
		}
		return made == 0
	})
	return wire.Submitted{Op: made.String(), Extent: uint64(id)}, nil
}

// stored is what became of a put.
type stored struct {
	loc wire.Locator
	err error
}

// put begins to put p, and answers where its end will be told.
func (b *bench) put(ctx context.Context, p []byte) chan stored {
	done := make(chan stored, 1)
	go func() {
		by, err := b.path.o.Quotas.Reserve(ctx, wire.OpPut, quota.Tenant{}, int64(len(p)))
		if err != nil {
			b.Error(err)
			return
		}
		defer by.End()
		loc, err := b.path.putSmall(ctx, by, p)
		done <- stored{loc, err}
	}()
	synctest.Wait()
	return done
}

// holds checks that what was put can be read where it is said to be.
func (b *bench) holds(got stored, p []byte) {
	b.Helper()
	buf := make([]byte, len(p))
	if _, err := b.store.ReadAt(extent.ID(got.loc.Extent), buf, got.loc.Offset); got.err != nil || err != nil ||
		!bytes.Equal(buf, p) || got.loc.Length != uint64(len(p)) {
		b.Errorf("put of %q: %v, %v; read %q, %v", p, got.loc, got.err, buf, err)
	}
}

func word(i int) []byte { return fmt.Appendf(nil, "put %d.", i) }

// A put that finds an extent free is appended at once and alone. Those that come meanwhile share one append.
func TestWaitingPutsShareAnAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		var puts []chan stored
		for i := range 6 {
			puts = append(puts, b.put(t.Context(), word(i)))
		}
		alone := <-b.appends
		alone.land(t, nil)
		b.holds(<-puts[0], word(0))
		together := <-b.appends
		synctest.Wait()
		select {
		case got := <-puts[1]:
			t.Errorf("told %v before its batch was appended", got)
		default:
		}
		together.land(t, nil)
		for i, p := range puts[1:] {
			b.holds(<-p, word(i+1))
		}
		if ap := b.path.appends.lanes[quota.Tenant{}].open[0]; len(ap.turn) != 1 || ap.offset != 6*uint64(len(word(0))) {
			t.Errorf("afterwards the turn is free: %d; %d bytes", len(ap.turn), ap.offset)
		}
	})
}

// done is how many puts have been told what became of them.
func done(puts []chan stored) (n int) {
	for _, p := range puts {
		n += len(p)
	}
	return n
}

// With extents to spare, puts still wait for the one batch that is under way: each batch costs every replica a sync.
// They go to another extent when more wait than a batch takes, and when the batch takes long.
func TestOneBatchUnderWay(t *testing.T) {
	big := bytes.Repeat([]byte("big."), copiedBytes/4)
	for name, c := range map[string]struct {
		puts  [][]byte // while one is under way
		late  bool     // the last of them
		first int      // that go at once
	}{
		"few":      {puts: [][]byte{word(1), word(2), word(3)}},
		"many":     {puts: [][]byte{big, big, big, big, word(5)}, first: 4},
		"large":    {puts: [][]byte{append(big, big...)}, first: 1},
		"it hangs": {puts: [][]byte{word(1), word(2), word(3)}, late: true, first: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, OpenPerTenant)
				puts, under := []chan stored{b.put(t.Context(), word(0))}, <-b.appends
				for i, p := range c.puts {
					if c.late && i == len(c.puts)-1 {
						time.Sleep(slowBatch) // of the bubble's time
					}
					puts = append(puts, b.put(t.Context(), p))
				}
				for more := true; more; synctest.Wait() {
					select {
					case f := <-b.appends:
						f.land(t, nil)
					default:
						more = false
					}
				}
				if n := done(puts); n != c.first {
					t.Errorf("%d puts went on beside the batch that is under way, want %d", n, c.first)
				}
				go func() {
					for f := range b.appends {
						f.land(t, nil)
					}
				}()
				under.land(t, nil)
				b.holds(<-puts[0], word(0))
				for i, p := range c.puts {
					b.holds(<-puts[i+1], p)
				}
				close(b.appends)
			})
		})
	}
}

// A batch that fails fails all its puts, and each goes to another extent, as do those that waited behind it.
func TestBatchThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2)
		b.free = b.free[:1]
		first := b.put(t.Context(), word(0))
		flight := <-b.appends
		var puts []chan stored
		for i := range 3 {
			puts = append(puts, b.put(t.Context(), word(i+1)))
		}
		flight.land(t, nil)
		b.holds(<-first, word(0))
		flight = <-b.appends
		late := b.put(t.Context(), word(4))
		b.mu.Lock()
		b.free = []state.ExtentID{2}
		b.mu.Unlock()
		flight.land(t, errors.New("n2 has fallen silent"))
		go func() {
			for flight := range b.appends {
				if flight.extent.ID != 2 {
					t.Errorf("append to extent %d after a failure there", flight.extent.ID)
				}
				flight.land(t, nil)
			}
		}()
		for i, p := range append(puts, late) {
			got := <-p
			if b.holds(got, word(i+1)); got.loc.Extent != 2 {
				t.Errorf("%s was acknowledged in an extent to which the append failed", got.loc)
			}
		}
		close(b.appends)
		if w := <-b.path.background.wanted; w.extent != 1 {
			t.Errorf("a seal of extent %d is asked for, want the broken one", w.extent)
		}
	})
}

// A caller that leaves is told so at once. Its bytes may be stored, and its batch is appended all the same, by another;
// if all have left, not at all.
func TestCallersThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		first := b.put(t.Context(), word(0))
		flight := <-b.appends
		ctx, leave := context.WithCancel(t.Context())
		gone := b.put(ctx, word(1))
		stays := b.put(t.Context(), word(2))
		leave()
		if got := <-gone; !errors.Is(got.err, context.Canceled) {
			t.Errorf("who left was told %v", got)
		}
		flight.land(t, nil)
		b.holds(<-first, word(0))
		flight = <-b.appends
		ctx, leave = context.WithCancel(t.Context())
		alone := b.put(ctx, word(3))
		leave()
		<-alone
		flight.land(t, nil)
		b.holds(<-stays, word(2))
		synctest.Wait()
		if ap := b.path.appends.lanes[quota.Tenant{}].open[0]; len(ap.turn) != 1 {
			t.Error("nobody waits any more, and the turn is not free")
		}
	})
}

// Who has been given the turn appends its batch, even if its caller has left just then: others wait for it.
func TestLeaderDoesNotLeave(t *testing.T) {
	b := &lane{queue: []*batch{newBatch()}}
	w := &waiting{wake: make(chan struct{}, 1)}
	b.queue[0].add(w, word(0))
	if ap := new(appender); !b.hand(ap) || w.lead != ap || new(appenders).leave(w) {
		t.Error("who leads may leave")
	}
}

// An append to a named extent comes before the batches that wait for the same one; if its caller leaves, they go on.
func TestNamedAppendBetweenBatches(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 1)
			puts := []chan stored{b.put(t.Context(), word(0))}
			flight := <-b.appends
			puts = append(puts, b.put(t.Context(), word(1)))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			got := make(chan error)
			go func() {
				ap, err := b.path.appends.named(ctx, flight.extent)
				got <- err
				if err == nil {
					b.path.appends.release(ap, false)
				}
			}()
			synctest.Wait()
			if leaves {
				leave()
			}
			flight.land(t, nil)
			if err := <-got; (err != nil) != leaves {
				t.Errorf("the named append leaves: %t, was told %v", leaves, err)
			}
			(<-b.appends).land(t, nil)
			for i, p := range puts {
				b.holds(<-p, word(i))
			}
		})
	}
}

// A batch is no larger than one append, in bytes and in puts; what is not copied is a batch of its own.
func TestBoundsOfABatch(t *testing.T) {
	for name, c := range map[string]struct {
		size, count int
		want        []int
	}{
		"small":      {10, batchPuts + 1, []int{batchPuts, 1}},
		"large":      {copiedBytes, 6, []int{4, 2}},
		"not copied": {copiedBytes + 1, 2, []int{1, 1}},
		"empty":      {0, 3, []int{3}},
	} {
		var l lane
		p := make([]byte, c.size)
		for range c.count {
			l.join(&waiting{length: c.size}, p)
		}
		var got []int
		for _, b := range l.queue {
			got = append(got, len(b.puts))
			if len(b.raw) != len(b.puts)*c.size || len(b.raw) > batchBytes {
				t.Errorf("%s: a batch of %d puts has %d bytes", name, len(b.puts), len(b.raw))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: batches of %d, want %d", name, got, c.want)
		}
	}
}
