package report

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// log takes batches as the leader would, but denies the drops of one node and is away for its first calls.
type log struct {
	away    int
	batches []int
}

func (l *log) propose(_ context.Context, cmds []state.Command) (wire.ProposeReply, error) {
	if l.away > 0 {
		l.away--
		return wire.ProposeReply{}, wire.Errorf(wire.OpPropose, wire.CodeUnavailable, "no leader")
	}
	for _, cmd := range cmds {
		if gone, ok := cmd.(*state.Gone); ok && gone.Node == "denied" {
			return wire.ProposeReply{}, wire.Errorf(wire.OpPropose, wire.CodeDenied, "not yours")
		}
	}
	l.batches = append(l.batches, len(cmds))
	return wire.ProposeReply{Index: uint64(len(l.batches)), Results: make([]wire.ProposeResult, len(cmds))}, nil
}

// What gathers goes in batches, each again until the leader takes it; one that is denied is told so alone.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{away: 3}
		q := NewQueue(l.propose, clock.Of(mux.Clock{}))
		var mu sync.Mutex
		var all sync.WaitGroup
		denied, taken := 0, 0
		for i := range AtOnce + 10 {
			gone := &state.Gone{Extent: state.ExtentID(i), Node: "n1"}
			if i == 7 {
				gone.Node = "denied"
			}
			all.Go(func() {
				a := q.Propose(t.Context(), gone)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case a.Err == nil && a.Index > 0:
					taken++
				case wire.CodeOf(a.Err) == wire.CodeDenied && gone.Node == "denied":
					denied++
				default:
					t.Errorf("%+v: %+v", gone, a)
				}
			})
		}
		synctest.Wait() // all are in the queue
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { q.Run(ctx); close(ran) }()
		all.Wait()
		cancel()
		<-ran
		if denied != 1 || taken != AtOnce+9 {
			t.Errorf("%d were denied and %d taken, want 1 and %d", denied, taken, AtOnce+9)
		}
	})
}

// Whoever waits for an answer goes when its context ends, and what is only noted is lost when the queue is full.
func TestQueueIsBounded(t *testing.T) {
	q := NewQueue(nil, clock.Of(mux.Clock{}))
	for range maxWaiting + 1 {
		q.Note(&state.Gone{})
	}
	if got := len(q.queue); got != maxWaiting {
		t.Errorf("%d wait, want %d", got, maxWaiting)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := q.Propose(ctx, &state.Gone{}); a.Err == nil {
		t.Error("proposed after its end")
	}
}
