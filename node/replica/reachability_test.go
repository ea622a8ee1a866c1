package replica

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A step at a node ends at once when the cell calls it down, and after its limit when nothing is known of it. A node
// that has failed at one is named for a while.
func TestReachability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog("join n1 n2 n3")
		r := NewReachability(ReachabilityOptions{
			Log: log, Clock: testClock(), StepLimit: time.Minute,
			ToNode: func(ctx context.Context, id state.NodeID) (*mux.Conn, error) { // it dials, and nobody answers
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		type ended struct {
			err   error
			after time.Duration
		}
		step := func() <-chan ended {
			began, done := time.Now(), make(chan ended, 1)
			go func() {
				_, err := r.Step(t.Context(), "n2", mux.Request{Op: wire.OpReplicaFence})
				done <- ended{err, time.Since(began)}
			}()
			synctest.Wait()
			return done
		}
		waiting := step()
		r.Update(log.View())
		time.Sleep(time.Second)
		log.run("down n2")
		r.Update(log.View())
		if got := <-waiting; wire.CodeOf(got.err) != wire.CodeUnavailable || got.after != time.Second {
			t.Errorf("a step at a node that is called down ended after %s: %v", got.after, got.err)
		}
		if got := <-step(); wire.CodeOf(got.err) != wire.CodeUnavailable || got.after != 0 {
			t.Errorf("a step at a node that is down ended after %s: %v", got.after, got.err)
		}
		if got := r.Failing(); !slices.Equal(got, []state.NodeID{"n2"}) {
			t.Errorf("failing are %v, want n2", got)
		}
		time.Sleep(failingFor + 1)
		if got := r.Failing(); len(got) != 0 {
			t.Errorf("failing are %v long after the last step", got)
		}
		log.run("up n2")
		if got := <-step(); got.err == nil || got.after != time.Minute {
			t.Errorf("a step that nobody answers ended after %s: %v", got.after, got.err)
		}
	})
}
