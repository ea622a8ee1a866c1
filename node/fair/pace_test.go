package fair

import (
	"fmt"
	"testing"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/wire/mux"
)

// Who works without end does so for a quarter of the time once it has used up its burst; its place is the others' as
// long as it rests.
func TestPace(t *testing.T) {
	now := time.Unix(1, 0)
	var wake []func()
	fake := clock.Of(mux.Clock{
		Now:       func() time.Time { return now },
		AfterFunc: func(_ time.Duration, f func()) func() bool { wake = append(wake, f); return nil },
	})
	p := pace{clock: fake}
	work := func(sharer string, d time.Duration) time.Duration {
		began := now
		now = now.Add(d)
		return p.worked(sharer, began)
	}
	// While it works, a quarter of the time is made good.
	worked, rested := time.Duration(0), time.Duration(0)
	for worked < time.Minute {
		rest := work("eve", 100*time.Millisecond)
		worked, rested = worked+100*time.Millisecond, rested+rest
		now = now.Add(rest)
	}
	if share := float64(worked-paceBurst) / float64(worked+rested); share < 0.2 || share > 0.26 {
		t.Errorf("it worked for %s and rested for %s", worked, rested)
	}
	if rest := work("bob", paceBurst); rest != 0 {
		t.Errorf("within its burst another rests for %s", rest)
	}
	now = now.Add(time.Hour)
	for i := range 2 * paceForget {
		work(fmt.Sprint(i), 0)
	}
	if len(p.of) > paceForget+1 {
		t.Errorf("%d are remembered", len(p.of))
	}

	turns := NewTurns(Options{Work: "log", AtOnce: 1, Pace: fake})
	end, err := turns.Take(t.Context(), "eve")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * paceBurst)
	end()
	next := make(chan func(), 1)
	go func() {
		end, err := turns.Take(t.Context(), "eve")
		if err == nil {
			next <- end
		}
	}()
	end, err = turns.Take(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	end()
	if len(wake) != 1 || len(next) != 0 {
		t.Fatalf("%d rest, %d works again; want 1, 0", len(wake), len(next))
	}
	wake[0]()
	(<-next)()
}
