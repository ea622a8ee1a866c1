package reclaim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
)

// askRewrite has the operation admitted, as the leader would.
func (r *reclaimed) askRewrite(_ context.Context, id state.ExtentID) (state.OpID, error) {
	r.asks = append(r.asks, id)
	if r.cell.State.Extent(id) == nil {
		return 0, errors.New("no leader")
	}
	r.cell.RunAll(fmt.Sprintf("punch %d from=n1 origin=cell", id))
	return r.cell.Op("punch")
}

// asked sweeps, and fails unless rewrites of these were asked for.
func (r *reclaimed) rewrites(t *testing.T, when string, want ...state.ExtentID) {
	t.Helper()
	r.Sweep(t.Context())
	if r.store.took(); !slices.Equal(r.asks, want) {
		t.Errorf("%s: asked to rewrite %v, want %v", when, r.asks, want)
	}
	r.asks = nil
}

const mib = 1 << 20

// A rewrite is asked for once the deletes are at rest and punched, where it gives back half of the file and a MiB; one
// at a time, and that first which gives back most.
func TestRewritesAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReclaimed()
		r.store.sizes = map[extent.ID][2]int64{1: {10 * mib, 5 * mib}, 2: {20 * mib, 4 * mib}}
		r.deletes(1, 0, 4096)
		r.deletes(2, 0, 4096)
		r.rewrites(t, "just deleted")
		r.rewrites(t, "at rest", 2)
		r.rewrites(t, "one is open")
		r.cell.RunAll("start punch executor=n1")
		r.rewrites(t, "it runs")
		r.cell.RunAll("finish punch done")
		r.store.sizes[2] = [2]int64{4 * mib, 4 * mib}
		r.rewrites(t, "it is done", 1)
		r.cell.RunAll("start punch executor=n1\nfinish punch done")
		r.store.sizes[1] = [2]int64{5 * mib, 5 * mib}
		r.rewrites(t, "the last is weighed")
		weighed := r.store.weighed
		for range 3 {
			r.rewrites(t, "both are done")
		}
		if r.store.weighed != weighed {
			t.Errorf("weighed %d times though nothing has changed", r.store.weighed-weighed)
		}
		r.store.sizes[1] = [2]int64{5 * mib, mib}
		r.deletes(1, 8192, 4096)
		r.rewrites(t, "more is deleted")
		r.rewrites(t, "that at rest", 1)
	})
}

// Little is not worth it: less than a MiB, or than half of what the file takes.
func TestLittleIsNotRewritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			now, then int64
			worth     bool
		}{
			{2 * mib, mib, true}, {2 * mib, mib + 1, false}, {mib, 1, false}, {100 * mib, 50*mib + 1, false},
			{100, 200, false},
		} {
			r := newReclaimed()
			r.store.sizes = map[extent.ID][2]int64{1: {c.now, c.then}}
			r.deletes(1, 0, 4096)
			r.Sweep(t.Context())
			if r.Sweep(t.Context()); (len(r.asks) > 0) != c.worth {
				t.Errorf("from %d to %d bytes: asked %v", c.now, c.then, r.asks)
			}
		}
	})
}

// One that gave way is asked for again as soon as nothing else is open on its extent, one that failed only later.
func TestRewritesAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReclaimed()
		r.cell.RunAll(fmt.Sprintf("join n3 level=%d", state.LevelNow))
		r.store.sizes = map[extent.ID][2]int64{1: {10 * mib, mib}}
		r.deletes(1, 0, 4096)
		r.rewrites(t, "just deleted")
		r.rewrites(t, "at rest", 1)
		r.cell.RunAll("start punch executor=n1\nmove 1 from=n1 to=n3")
		r.rewrites(t, "it gave way to a move")
		r.cell.RunAll("cancel move")
		r.rewrites(t, "the move has ended", 1)
		r.cell.RunAll("start punch executor=n1\nfinish punch fail")
		r.rewrites(t, "it failed")
		time.Sleep(AskAgain)
		r.rewrites(t, "long after", 1)
	})
}

// While a node of the cell cannot read a rewritten file, nothing is asked for.
func TestNoRewriteBesideAnOlderBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReclaimed()
		r.store.sizes = map[extent.ID][2]int64{1: {10 * mib, mib}}
		r.cell.RunAll(fmt.Sprintf("join n4 level=%d", state.LevelRewritten-1))
		r.deletes(1, 0, 4096)
		r.rewrites(t, "just deleted")
		r.rewrites(t, "at rest")
		r.cell.RunAll(fmt.Sprintf("join n4 incarnation=2 level=%d", state.LevelRewritten))
		r.rewrites(t, "the node has a newer build", 1)
	})
}

// What cannot be read as a whole cannot be rewritten: it would be tried, and fail, for ever.
func TestDamagedIsNotRewritten(t *testing.T) {
	view, worth := state.New().Snapshot(), weighed{gain: mib}
	for damaged, want := range map[bool]bool{false: true, true: false} {
		if got := worth.may(view, &state.Extent{ID: 1, Damaged: damaged}, time.Now()); got != want {
			t.Errorf("damaged %v: asked for is %v, want %v", damaged, got, want)
		}
	}
}
