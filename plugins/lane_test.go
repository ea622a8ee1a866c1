package plugins

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// called stands for an export of a guest.
type called struct {
	api.Function
	do func(args []uint64) error
}

func (c called) CallWithStack(_ context.Context, args []uint64) error { return c.do(args) }

func doing(do func([]uint64) error) invocation { return invocation{function: called{do: do}} }

// A lane makes one call after the other, and a call that takes long is not lost for having followed others.
func TestLane(t *testing.T) {
	l := newLane(t.Context())
	defer l.close()
	for n := range uint64(100) {
		in := doing(func(args []uint64) error {
			args[0] += args[1]
			l.look() // in each call once
			return nil
		})
		in.args = [maxArgs]uint64{n, 1}
		if o, inTime := l.run(in, time.Hour); !inTime || o != (outcome{n + 1, nil}) {
			t.Fatalf("call %d: %v, %v", n, o, inTime)
		}
	}
	if l.look(); l.every != 0 {
		t.Errorf("the watchdog looks every %v while nothing runs", l.every)
	}
	if l.run(doing(func([]uint64) error { return nil }), time.Minute); l.every != time.Minute {
		t.Errorf("the watchdog looks every %v, want every minute", l.every)
	}
}

func TestLaneOfNoCall(t *testing.T) {
	newLane(t.Context()).close() // does not hang
}

// The watchdog hands back for a call that does not, and the lane ends when that is back.
func TestLaneLoses(t *testing.T) {
	l := newLane(t.Context())
	release := make(chan struct{})
	if o, inTime := l.run(doing(func([]uint64) error { <-release; return nil }), time.Millisecond); inTime ||
		o != (outcome{}) {
		t.Fatalf("%v in time", o)
	}
	select {
	case <-l.ended:
		t.Fatal("the lane has ended while its call runs")
	default:
	}
	close(release)
	<-l.ended
	l.close()
}

// Whichever of the call and the watchdog is first, one of them hands back.
func TestLaneLosesInTheEnd(t *testing.T) {
	const rounds = 2000
	lost := 0
	for round := range rounds {
		l := newLane(t.Context())
		looked := make(chan struct{})
		_, inTime := l.run(doing(func([]uint64) error {
			l.look()
			go func() {
				defer close(looked)
				l.look()
			}()
			for range round % 4 {
				runtime.Gosched()
			}
			return nil
		}), time.Hour)
		if !inTime {
			lost++
			<-l.ended
		}
		<-looked
		l.close()
	}
	t.Logf("%d of %d calls were lost", lost, rounds)
}
