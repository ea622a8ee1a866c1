package diskshare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire/mux"
)

// timedShares are shares in the time of a synctest bubble.
func timedShares() *Shares { return New(clock.Of(mux.Clock{})) }

// pieceOf takes so long, and ends in a client's get if there are clients.
func pieceOf(s *Shares, took time.Duration, clients bool) func() error {
	return func() error {
		time.Sleep(took)
		if clients {
			s.Client()
		}
		return nil
	}
}

// However busy clients keep the node, every copy gets on: no piece waits longer than for the others before it, each of
// which takes its time and the longest rest there is.
func TestCopiesAreNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const copies, pieces, took = 5, 20, 3 * time.Millisecond
		s := timedShares()
		s.Client()
		stop := make(chan struct{})
		var client, all sync.WaitGroup
		client.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					s.Client()
				}
			}
		})
		begin := time.Now()
		for range copies {
			all.Go(func() {
				for range pieces {
					asked := time.Now()
					if err := (Copy{s, false}).Do(t.Context(), pieceOf(s, took, true)); err != nil {
						t.Error(err)
					}
					if waited, most := time.Since(asked), copies*(took+mostRest); waited > most {
						t.Errorf("a piece was done after %s, want at most %s", waited, most)
					}
				}
			})
		}
		all.Wait()
		close(stop)
		client.Wait()
		// Clients had their share: the copies rested after each piece but the last.
		if all, least := time.Since(begin), copies*pieces*took+(copies*pieces-1)*mostRest; all < least {
			t.Errorf("%d pieces of %s were done in %s, want at least %s", copies*pieces, took, all, least)
		}
	})
}

// A copy rests in proportion to what its piece took while clients are served, and not at all otherwise.
func TestCopiesRest(t *testing.T) {
	for _, c := range []struct {
		name    string
		urgent  bool
		clients bool
		took    time.Duration
		rest    time.Duration // between two pieces
	}{
		{"no client", false, false, time.Millisecond, 0},
		{"clients", false, true, 100 * time.Microsecond, restParts * 100 * time.Microsecond},
		{"clients, slow disk", false, true, time.Second, mostRest},
		{"last replica", true, true, time.Millisecond, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := timedShares()
				if c.clients {
					s.Client()
				}
				share := Copy{s, c.urgent}
				if got, small := share.Piece(4*sharedPiece), c.clients && !c.urgent; small != (got == sharedPiece) {
					t.Errorf("a piece has %d bytes", got)
				}
				var began []time.Time
				for range 3 {
					err := share.Do(t.Context(), func() error {
						began = append(began, time.Now())
						return pieceOf(s, c.took, c.clients)()
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				for i := 1; i < len(began); i++ {
					if got := began[i].Sub(began[i-1]) - c.took; got != c.rest {
						t.Errorf("rested %s after a piece, want %s", got, c.rest)
					}
				}
			})
		})
	}
}

// When the last client has gone, copies go on at their full pace.
func TestCopiesGoOnAfterClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := timedShares()
		s.Client()
		share := Copy{s, false}
		if err := share.Do(t.Context(), pieceOf(s, time.Millisecond, true)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(clientsFor)
		begin := time.Now()
		for range 10 {
			if err := share.Do(t.Context(), pieceOf(s, time.Millisecond, false)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 10*time.Millisecond {
			t.Errorf("10 pieces of a millisecond took %s without clients", took)
		}
		s.ColocatedServes(time.Second)
		if !share.Yields() {
			t.Error("a client of another node of the machine does not count")
		}
		time.Sleep(time.Second)
		if share.Yields() {
			t.Error("a client of another node counts for ever")
		}
	})
}

// A copy that is ended while it waits leaves its turn to the others, and its own error is told.
func TestCopyEndsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := timedShares()
		s.Client()
		share := Copy{s, false}
		bad := errors.New("bad disk")
		err := share.Do(t.Context(), func() error { return errors.Join(bad, pieceOf(s, time.Second, true)()) })
		if !errors.Is(err, bad) {
			t.Fatalf("a piece that failed: %v", err)
		}
		never := func() error { t.Error("a piece was done for a copy that had ended"); return nil }
		ended := make(chan error, 2)
		ctx, cancel := context.WithCancel(t.Context())
		for range cap(ended) { // one has the turn, and the other waits for it
			go func() { ended <- share.Do(ctx, never) }()
		}
		synctest.Wait()
		cancel()
		for range cap(ended) {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("a copy that was ended: %v", err)
			}
		}
		if err := share.Do(t.Context(), pieceOf(s, 0, false)); err != nil {
			t.Error(err)
		}
	})
}

// A repair goes before clients while its extent has a single replica left on nodes that are up.
func TestLastReplicaIsUrgent(t *testing.T) {
	cell := statetest.New()
	cell.RunAll("join n1 n2 n3")
	s, view := timedShares(), cell.State.Snapshot()
	const whole, suspect = state.ReplicaWhole, state.ReplicaSuspect
	for _, r := range []struct {
		replicas []state.ReplicaState
		urgent   bool
	}{
		{[]state.ReplicaState{whole, whole, whole}, false},
		{[]state.ReplicaState{whole, suspect, whole}, false},
		{[]state.ReplicaState{suspect, suspect, whole}, true},
		{[]state.ReplicaState{whole}, true},
	} {
		var left state.Extent
		for i, st := range r.replicas {
			left.Replicas = append(left.Replicas, state.Replica{Node: state.NodeID(fmt.Sprintf("n%d", i+1)), State: st})
		}
		if got := s.Copy(view, &left).urgent; got != r.urgent {
			t.Errorf("a copy of an extent whose replicas are %v is urgent: %t, want %t", r.replicas, got, r.urgent)
		}
	}
	away := state.Extent{Replicas: []state.Replica{{Node: "n1", State: whole}, {Node: "n9", State: whole}}}
	if !s.Copy(view, &away).urgent {
		t.Error("a replica on a node that is not there counts")
	}
}
