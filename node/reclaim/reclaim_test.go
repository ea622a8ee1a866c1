package reclaim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire/mux"
)

// punches is a store that notes what it is asked to punch.
type punches struct {
	failed error
	answer error
	parts  int           // of each punch before the last one
	takes  time.Duration // a part
	asked  []string      // extents, with what is deleted of them
	at     []time.Time   // when each was asked
	left   int

	sizes   map[extent.ID][2]int64 // of files that can be rewritten, now and then
	weighed int
}

func (p *punches) Failed() error { return p.failed }

func (p *punches) Punch(id extent.ID, _ extent.Birth, deleted []extent.Range) (more bool, err error) {
	time.Sleep(p.takes) // of the bubble
	p.asked, p.at = append(p.asked, fmt.Sprint(id, deleted)), append(p.at, time.Now())
	if p.answer != nil {
		return false, p.answer
	}
	if p.left == 0 {
		p.left = p.parts + 1
	}
	p.left--
	return p.left > 0, nil
}

func (p *punches) Shrinks(id extent.ID, _ extent.Birth, _ []extent.Range) (now, then int64, ok bool) {
	p.weighed++
	size, ok := p.sizes[id]
	return size[0], size[1], ok
}

// took is what was asked since the last call.
func (p *punches) took() []string {
	asked := p.asked
	p.asked, p.at = nil, nil
	return asked
}

// reclaimed is a reclaimer of n1, in a cell in which n1 has extents 1 and 2 of 64 MiB, both sealed.
type reclaimed struct {
	*Reclaimer
	cell  *statetest.Cell
	store *punches
	busy  bool
	said  bytes.Buffer
	asks  []state.ExtentID // to rewrite
	ready chan struct{}
}

const extentBytes = 64 << 20

func newReclaimed() *reclaimed {
	r := &reclaimed{cell: statetest.New(), store: &punches{}, ready: make(chan struct{})}
	r.cell.RunAll(fmt.Sprintf("join n1 n2 level=%d", state.LevelNow))
	for id := 1; id <= 2; id++ {
		r.cell.RunAll(fmt.Sprintf("create on=n1 want=1\nstart create executor=n1\nfinish create done\nseal %d\n"+
			"start seal executor=n1\nfinish seal done length=%d sum=1 confirmed=n1", id, extentBytes))
	}
	r.Reclaimer = New(Options{
		ID: "n1", Store: r.store, Clock: clock.Of(mux.Clock{}), Ready: r.ready,
		Logger: slog.New(slog.NewTextHandler(&r.said, nil)),
		View:   r.view, Busy: func() bool { return r.busy }, AskRewrite: r.askRewrite,
	})
	return r
}

func (r *reclaimed) view() *state.View { return r.cell.State.Snapshot() }

// deletes punches a range of an extent in the log.
func (r *reclaimed) deletes(id, from, length int) {
	r.cell.RunAll(fmt.Sprintf("punch %d:%d+%d", id, from, length))
}

// sweeps sweeps once, and fails unless that is what was punched.
func (r *reclaimed) sweeps(t *testing.T, when string, want ...string) {
	t.Helper()
	r.Sweep(t.Context())
	if got := r.store.took(); !slices.Equal(got, want) {
		t.Errorf("%s: punched %q, want %q", when, got, want)
	}
}

// What is deleted is punched once nothing more was deleted of its extent since the sweep before, all of it, and once.
func TestDeletesComeToRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReclaimed()
		r.sweeps(t, "nothing is deleted")
		r.deletes(1, 0, 4096)
		r.sweeps(t, "just deleted")
		r.deletes(1, 8192, 4096)
		r.deletes(2, 100, 50)
		r.sweeps(t, "more was deleted since")
		r.sweeps(t, "at rest", "1 [{0 4096} {8192 12288}]", "2 [{100 150}]")
		r.sweeps(t, "all is punched")
		r.deletes(2, 0, 100)
		r.sweeps(t, "more of one")
		r.sweeps(t, "that at rest", "2 [{0 150}]")
	})
}

// Much is punched without waiting, and the bound is about what is not punched yet.
func TestMuchIsPunchedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReclaimed()
		r.deletes(1, 0, muchBytes-1)
		r.sweeps(t, "one byte less")
		r.deletes(1, muchBytes-1, 1)
		r.sweeps(t, "as much", fmt.Sprintf("1 [{0 %d}]", muchBytes))
		r.deletes(1, muchBytes, 4096)
		r.sweeps(t, "much, of which most is punched")
		r.sweeps(t, "at rest", fmt.Sprintf("1 [{0 %d}]", muchBytes+4096))
	})
}

// Only whole replicas of this node are punched, of sealed extents that are not to be deleted as a whole, and nothing
// while the store has failed.
func TestWhatIsNotPunched(t *testing.T) {
	for what, c := range map[string]struct {
		extent state.ExtentID
		make   func(r *reclaimed)
	}{
		"another's replica": {1, func(r *reclaimed) { r.opt.ID = "n2"; r.deletes(1, 0, 4096) }},
		"all of the extent": {1, func(r *reclaimed) { r.deletes(1, 0, extentBytes) }},
		"a failed store": {1, func(r *reclaimed) {
			r.store.failed = errors.New("input/output error")
			r.deletes(1, 0, 4096)
		}},
		"an open extent": {3, func(r *reclaimed) {
			r.cell.RunAll("create on=n1 want=1\nstart create executor=n1\nfinish create done")
			r.deletes(3, 0, 10)
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newReclaimed()
			c.make(r)
			if e := r.view().Extent(c.extent); e.Punched == 0 {
				t.Fatalf("%s: nothing is deleted of %v", what, e)
			}
			for range 3 {
				r.sweeps(t, what)
			}
		})
	}
}

// A punch that fails is tried at the next sweep. On a file system that gives nothing back it is not, which is said
// once.
func TestPunchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReclaimed()
		r.deletes(1, 0, 4096)
		r.store.answer = errors.New("busy")
		r.sweeps(t, "just deleted")
		r.sweeps(t, "it fails", "1 [{0 4096}]")
		r.sweeps(t, "it fails again", "1 [{0 4096}]")
		r.store.answer = &extent.Error{Code: extent.CodeUnsupported}
		r.sweeps(t, "it cannot be done", "1 [{0 4096}]")
		r.sweeps(t, "it is given up")
		r.deletes(2, 0, 4096)
		r.sweeps(t, "another")
		r.sweeps(t, "another cannot either", "2 [{0 4096}]")
		if n := strings.Count(r.said.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want one:\n%s", n, &r.said)
		}
	})
}

// A punch of many parts leaves the disk to others as long as each part took, four times as long while clients are
// served, and ends between two parts with its context; what is left is punched by the next sweep.
func TestPunchLeavesTime(t *testing.T) {
	for _, c := range []struct {
		busy  bool
		parts time.Duration
	}{{false, restParts}, {true, busyRestParts}} {
		synctest.Test(t, func(t *testing.T) {
			r := newReclaimed()
			r.busy, r.store.parts, r.store.takes = c.busy, 3, time.Second
			r.deletes(1, 0, muchBytes)
			begin := time.Now()
			r.Sweep(t.Context())
			if took, want := time.Since(begin), 4*(1+c.parts)*time.Second; took != want || len(r.store.asked) != 4 {
				t.Errorf("busy %t: %d parts took %s, want 4 in %s", c.busy, len(r.store.asked), took, want)
			}
			r.store.took()

			r.deletes(1, muchBytes, muchBytes)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(1500*time.Millisecond, cancel)
			r.Sweep(ctx)
			if n := len(r.store.took()); n != 1 {
				t.Errorf("busy %t: %d parts were punched until it was to end, want 1", c.busy, n)
			}
			r.Sweep(t.Context())
			if n := len(r.store.took()); n != 3 {
				t.Errorf("busy %t: %d parts were punched afterwards, want 3", c.busy, n)
			}
		})
	}
}

// Nothing is punched before the node has caught up with its log. Then it is looked again and again, until the end.
func TestRunWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReclaimed()
		r.deletes(1, 0, 4096)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := r.store.took(); len(got) > 0 {
			t.Errorf("punched %q before the node has caught up", got)
		}
		close(r.ready)
		began := time.Now()
		time.Sleep(10 * Look)
		synctest.Wait()
		if len(r.store.at) != 1 || r.store.at[0].Sub(began) != Look {
			t.Errorf("punched at %v, want once, %s after %v", r.store.at, Look, began)
		}
		cancel()
		<-ended
		unready := newReclaimed()
		unready.Run(ctx) // it ends at once
	})
}
