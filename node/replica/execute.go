package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// CarryOut works on one attempt, until it has come to something or ctx ends.
type CarryOut func(context.Context, *state.Op) (*state.Finish, error)

// ExecutorOptions is what an Executor needs of its node.
type ExecutorOptions struct {
	ID     state.NodeID
	Log    Log
	Store  Store
	Clock  clock.Clock
	Logger *slog.Logger
	// Tick is how often it looks even when nothing has changed.
	Tick time.Duration
	// Ready reports whether the node serves. Before, nothing is begun.
	Ready func() bool
	// Finishes and Drops take what is reported, each to its own queue: drops are many at a time, and nobody waits for
	// one. Somebody else runs them.
	Finishes, Drops *report.Queue
	// CarryOut works on attempts: that of the node's Replicas.
	CarryOut CarryOut
	// ForgetFences forgets the fences of extents that view does not know any more.
	ForgetFences func(view *state.View)
}

// Executor makes what runs on this node equal to what the state says should. It never acts on a
// message, only on the applied state, so it needs none to arrive. Its methods may be called from any goroutine.
type Executor struct {
	opt ExecutorOptions
	wg  sync.WaitGroup

	mu       sync.Mutex
	carryOut CarryOut                // Guarded by mu.
	tasks    map[state.Attempt]*task // Guarded by mu.
	ended    chan struct{}           // Guarded by mu. Closed and replaced whenever a task ends.
}

// task is an attempt being worked on here.
type task struct {
	extent state.ExtentID
	cancel context.CancelFunc
}

// NewExecutor makes an executor. Nothing is done before it runs.
func NewExecutor(o ExecutorOptions) *Executor {
	return &Executor{opt: o, carryOut: o.CarryOut, tasks: map[state.Attempt]*task{}, ended: make(chan struct{})}
}

// Run starts and stops work at every change of the state, and drops files beside it. Wait waits for what it has begun.
func (x *Executor) Run(ctx context.Context) {
	x.wg.Add(1)
	go x.dropFiles(ctx)
	for {
		changed := x.opt.Log.Changed()
		if x.opt.Ready() {
			x.adjust(ctx, x.opt.Log.View())
		}
		select {
		case <-changed:
		case <-x.opt.Clock.After(x.opt.Tick): // becoming ready is no change of the state
		case <-ctx.Done():
			return
		}
	}
}

// Wait returns when all that Run has begun has ended, which it does with Run's context.
func (x *Executor) Wait() { x.wg.Wait() }

// Replace has attempts that begin from now on worked on otherwise, for tests that need some to last.
func (x *Executor) Replace(carryOut CarryOut) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.carryOut = carryOut
}

// adjust starts what should run and is not, and stops what runs and should not.
func (x *Executor) adjust(ctx context.Context, view *state.View) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for a, t := range x.tasks {
		if !view.Runs(a) {
			t.cancel()
		}
	}
	view.Running(func(o *state.Op) bool {
		a := o.Attempt()
		if o.Executor != x.opt.ID || x.tasks[a] != nil {
			return true
		}
		taskCtx, cancel := context.WithCancel(ctx)
		x.tasks[a] = &task{extent: o.Extent, cancel: cancel}
		x.wg.Add(1)
		go x.work(taskCtx, a, o, x.carryOut)
		return true
	})
}

// work carries out one attempt and reports how it ended.
func (x *Executor) work(ctx context.Context, a state.Attempt, o *state.Op, carryOut CarryOut) {
	defer x.wg.Done()
	defer x.forget(a)
	finish, err := carryOut(ctx, o)
	if ctx.Err() != nil {
		return // the operation was ended by the log, or the node stops: the next attempt is another's
	}
	if err != nil {
		finish = &state.Finish{Outcome: state.OutcomeRetry, Detail: wire.Clip(err.Error(), report.MaxDetailBytes)}
		var final *finalError
		if errors.As(err, &final) {
			finish.Outcome = state.OutcomeFail
		}
		x.opt.Logger.Warn("attempt failed", "op", o.ID.String(), "kind", o.Kind.String(),
			"extent", uint64(o.Extent), "fence", uint64(o.Fence), "error", err)
	}
	finish.Op, finish.Fence = o.ID, o.Fence
	x.report(ctx, o, finish)
}

// report brings the end of an attempt into the log.
func (x *Executor) report(ctx context.Context, o *state.Op, finish *state.Finish) {
	a := x.opt.Finishes.Propose(ctx, finish)
	switch res := a.Result; {
	case a.Err != nil && ctx.Err() != nil: // most often because the log has just ended the operation
	case a.Err != nil:
		x.opt.Logger.Warn("finish not reported", "op", o.ID.String(), "error", a.Err)
	case res.Code != 0:
		x.opt.Logger.Info("finish refused", "op", o.ID.String(), "why", res.Detail)
	case !res.Stale:
		// The leader has applied the end before this node has. Forgotten now, the attempt would look
		// here like one that is yet to be made. adjust ends the context when the end is applied.
		<-ctx.Done()
	}
}

// finalError is an error that another attempt cannot mend.
type finalError struct{ error }

// CarryOut carries out one attempt of an operation that the log has this node carry out.
func (rs *Replicas) CarryOut(ctx context.Context, o *state.Op) (*state.Finish, error) {
	switch o.Kind {
	case policies.KindCreate:
		return rs.executeCreate(ctx, o)
	case policies.KindSeal:
		return rs.sealer.seal(ctx, o)
	case policies.KindRepair, policies.KindMove:
		return rs.copier.copy(ctx, o)
	case policies.KindPunch:
		return rs.rewriter.rewrite(ctx, o)
	}
	return nil, &finalError{fmt.Errorf("this version cannot execute %s", o.Kind)}
}

func (x *Executor) forget(a state.Attempt) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tasks[a].cancel()
	delete(x.tasks, a)
	close(x.ended)
	x.ended = make(chan struct{})
}

// Leases are the attempts that are worked on here, for the heartbeat.
func (x *Executor) Leases() []wire.Lease {
	x.mu.Lock()
	defer x.mu.Unlock()
	leases := make([]wire.Lease, 0, len(x.tasks))
	for a := range x.tasks {
		leases = append(leases, wire.Lease{Op: uint64(a.Op), Fence: uint64(a.Fence)})
	}
	return leases
}

// idle returns when no task works on the extent. Its operations must have ended, or this waits long.
func (x *Executor) idle(ctx context.Context, id state.ExtentID) error {
	for {
		x.mu.Lock()
		ended, busy := x.ended, false
		for a, t := range x.tasks {
			if t.extent == id {
				busy = true
				if !x.opt.Log.View().Runs(a) {
					t.cancel()
				}
			}
		}
		x.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
