package diskshare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire/mux"
)

// pacedCell is a cell with so many running repairs to each of n3 and n4.
type pacedCell struct {
	*statetest.Cell
	view atomic.Pointer[state.View]
}

func newPacedCell(to3, to4 int) *pacedCell {
	c := &pacedCell{Cell: statetest.New()}
	c.RunAll("join n1 n2 n3 n4")
	for i := range to3 + to4 {
		target := "n3"
		if i >= to3 {
			target = "n4"
		}
		c.RunAll(fmt.Sprintf("create on=n1,n2 want=3\nstart create executor=n1\nfinish create done\n"+
			"seal %d\nstart seal executor=n1\nfinish seal done length=9 sum=1 confirmed=n1,n2\n"+
			"repair %d\nstart repair executor=%s source=n1 target=%s", i+1, i+1, target, target))
	}
	c.set("0")
	return c
}

func (c *pacedCell) set(pace string) {
	c.RunAll("set copy-pace " + pace)
	c.view.Store(c.State.Snapshot())
}

// copyFor copies pieces until ctx ends, and says how many bytes.
func copyFor(t *testing.T, p *Pace, copies int, piece int, d time.Duration) int64 {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var total atomic.Int64
	var wg sync.WaitGroup
	for range copies {
		wg.Go(func() {
			for p.Take(ctx, piece) == nil {
				total.Add(int64(piece))
				time.Sleep(100 * time.Microsecond) // no disk takes no time
			}
		})
	}
	wg.Wait()
	return total.Load()
}

func within(t *testing.T, what string, got int64, want float64) {
	t.Helper()
	if float64(got) < 0.9*want || float64(got) > 1.1*want {
		t.Errorf("%s: %d bytes were copied, want %.0f within a tenth", what, got, want)
	}
}

// Copies keep to the pace within a tenth, a node to the part that its copies are of all, and a change of the pace
// applies to those that run.
func TestPaceIsKept(t *testing.T) {
	const each = 3 * time.Second
	for _, c := range []struct {
		to3, to4 int
		pace     string
		bytes    float64 // a second, that n4 may take
		piece    int
	}{
		{0, 1, "64Ki", 64 << 10, 8 << 10},
		{0, 1, "10Mi", 10 << 20, 256 << 10},
		{0, 4, "10Mi", 10 << 20, 256 << 10},
		{3, 1, "10Mi", 10 << 20 / 4, 64 << 10},
		{1, 3, "1Gi", 3 << 30 / 4, 256 << 10},
	} {
		t.Run(fmt.Sprintf("%d and %d at %s", c.to3, c.to4, c.pace), func(t *testing.T) {
			cell := newPacedCell(c.to3, c.to4)
			synctest.Test(t, func(t *testing.T) {
				p := NewPace(clock.Of(mux.Clock{}), "n4", cell.view.Load)
				cell.set(c.pace)
				within(t, "from the start", copyFor(t, p, c.to4, c.piece, each), c.bytes*each.Seconds())
				time.Sleep(time.Hour)
				within(t, "after a pause", copyFor(t, p, c.to4, c.piece, each), c.bytes*each.Seconds())
				cell.set("128Mi")
				part := float64(128<<20) * float64(c.to4) / float64(c.to3+c.to4)
				within(t, "at another pace", copyFor(t, p, c.to4, 256<<10, each), part*each.Seconds())
			})
		})
	}
}

// A copy that waits at a low pace goes on soon when the pace is another, and at once when there is none.
func TestPaceChangesUnderWay(t *testing.T) {
	cell := newPacedCell(0, 1)
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(clock.Of(mux.Clock{}), "n4", cell.view.Load)
		cell.set("64Ki")
		if err := p.Take(t.Context(), 1<<30); err != nil {
			t.Fatal(err)
		}
		went := make(chan error, 1)
		go func() { went <- p.Take(t.Context(), 1) }()
		time.Sleep(time.Minute)
		select {
		case err := <-went:
			t.Fatalf("went on after a minute, at a pace of hours: %v", err)
		default:
		}
		cell.set("0")
		begin := time.Now()
		if err := <-went; err != nil || time.Since(begin) > paceLook {
			t.Fatalf("without a pace it went on after %s: %v", time.Since(begin), err)
		}
		cell.set("64Ki")
		ctx, cancel := context.WithCancel(t.Context())
		go func() { went <- errors.Join(p.Take(ctx, 1<<20), p.Take(ctx, 1)) }()
		synctest.Wait()
		cancel()
		if err := <-went; !errors.Is(err, context.Canceled) {
			t.Fatalf("ended while it waited: %v", err)
		}
	})
}
