package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// executor makes what runs on this node equal to what the state says should. It never acts on a
// message, only on the applied state, so it needs none to arrive.
type executor struct {
	n  *Node
	wg sync.WaitGroup

	// carryOut is execute, other than in tests.
	carryOut func(context.Context, *state.Op) (*state.Finish, error) // Guarded by mu.

	mu    sync.Mutex
	tasks map[state.Attempt]*task // Guarded by mu.
	ended chan struct{}           // Guarded by mu. Closed and replaced whenever a task ends.
}

// task is an attempt being worked on here.
type task struct {
	extent state.ExtentID
	cancel context.CancelFunc
}

func newExecutor(n *Node) *executor {
	x := &executor{n: n, tasks: map[state.Attempt]*task{}, ended: make(chan struct{})}
	x.carryOut = x.execute
	return x
}

// run reconciles at every change of the state, and drops files beside it.
func (x *executor) run(ctx context.Context) {
	x.wg.Add(1)
	go x.dropFiles(ctx)
	for {
		changed := x.n.log.Changed()
		if x.n.ready.Load() {
			x.reconcile(ctx, x.n.log.View())
		}
		select {
		case <-changed:
		case <-x.n.after(x.n.time.tick): // becoming ready is no change of the state
		case <-ctx.Done():
			return
		}
	}
}

func (x *executor) wait() { x.wg.Wait() }

// reconcile starts what should run and is not, and stops what runs and should not.
func (x *executor) reconcile(ctx context.Context, view *state.View) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for a, t := range x.tasks {
		if !view.Runs(a) {
			t.cancel()
		}
	}
	view.Running(func(o *state.Op) bool {
		a := o.Attempt()
		if o.Executor != x.n.id || x.tasks[a] != nil {
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
func (x *executor) work(ctx context.Context, a state.Attempt, o *state.Op, carryOut func(context.Context, *state.Op) (*state.Finish, error)) {
	defer x.wg.Done()
	defer x.forget(a)
	finish, err := carryOut(ctx, o)
	if ctx.Err() != nil {
		return // the operation was ended by the log, or the node stops: the next attempt is another's
	}
	if err != nil {
		finish = &state.Finish{Outcome: state.OutcomeRetry, Detail: wire.Clip(err.Error(), maxDetailBytes)}
		var final *finalError
		if errors.As(err, &final) {
			finish.Outcome = state.OutcomeFail
		}
		x.n.logger.Warn("attempt failed", "op", o.ID.String(), "kind", o.Kind.String(), "extent", uint64(o.Extent), "fence", uint64(o.Fence), "error", err)
	}
	finish.Op, finish.Fence = o.ID, o.Fence
	if res, err := x.n.report.propose(ctx, finish); err != nil && ctx.Err() != nil {
		return // most often because the log has just ended the operation
	} else if err != nil {
		x.n.logger.Warn("finish not reported", "op", o.ID.String(), "error", err)
	} else if res.Code != 0 {
		x.n.logger.Info("finish refused", "op", o.ID.String(), "why", res.Detail)
	} else if !res.Stale {
		// The leader has applied the end before this node has. Forgotten now, the attempt would look
		// here like one that is yet to be made. reconcile ends the context when the end is applied.
		<-ctx.Done()
	}
}

// maxDetailBytes bounds the text of a report, so that a full batch of them fits an entry.
const maxDetailBytes = 1024

// finalError is an error that another attempt cannot mend.
type finalError struct{ error }

func (x *executor) execute(ctx context.Context, o *state.Op) (*state.Finish, error) {
	switch o.Kind {
	case policies.KindCreate:
		return x.n.executeCreate(ctx, o)
	case policies.KindSeal:
		return x.n.executeSeal(ctx, o)
	case policies.KindRepair, policies.KindMove:
		return x.n.executeCopy(ctx, o)
	}
	return nil, &finalError{fmt.Errorf("this version cannot execute %s", o.Kind)}
}

func (x *executor) forget(a state.Attempt) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tasks[a].cancel()
	delete(x.tasks, a)
	close(x.ended)
	x.ended = make(chan struct{})
}

// leases are the attempts that are worked on here, for the heartbeat.
func (x *executor) leases() []wire.Lease {
	x.mu.Lock()
	defer x.mu.Unlock()
	leases := make([]wire.Lease, 0, len(x.tasks))
	for a := range x.tasks {
		leases = append(leases, wire.Lease{Op: uint64(a.Op), Fence: uint64(a.Fence)})
	}
	return leases
}

// idle returns when no task works on the extent. Its operations must have ended, or this waits long.
func (x *executor) idle(ctx context.Context, id state.ExtentID) error {
	for {
		x.mu.Lock()
		ended, busy := x.ended, false
		for a, t := range x.tasks {
			if t.extent == id {
				busy = true
				if !x.n.log.View().Runs(a) {
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

// dropsAtOnce bounds the drops whose confirmations are reported together.
const dropsAtOnce = 256

// dropsBetween is after how many batches of drops the fences of what is forgotten by now are looked for.
const dropsBetween = 64

// dropFiles removes the files that must go, and confirms each once that is durable.
func (x *executor) dropFiles(ctx context.Context) {
	defer x.wg.Done()
	said := confirmations{}
	dropped := 0
	for ctx.Err() == nil {
		changed := x.n.log.Changed()
		if x.n.ready.Load() && x.dropBatch(ctx, x.n.log.View(), said) {
			dropped++
			continue
		}
		if dropped >= dropsBetween {
			x.n.forgetFences(x.n.log.View())
			dropped = 0
		}
		select {
		case <-changed:
		case <-x.n.after(x.n.time.tick):
		case <-ctx.Done():
		}
	}
}

// confirmations are the drops that the log has been told of, and the entries that carry that. While such an entry is not
// applied here, which takes long on a node that is behind, the state goes on naming the file.
type confirmations map[state.Gone]state.Index

// told tells whether the drop is confirmed by an entry that view has not come to. It forgets those that view has.
func (c confirmations) told(view *state.View, g *state.Gone) bool {
	index, ok := c[*g]
	if ok && view.Applied >= index {
		delete(c, *g) // applied, and the file is still named: it is to be said again
		return false
	}
	return ok
}

// forget drops what view has come to.
func (c confirmations) forget(view *state.View) {
	maps.DeleteFunc(c, func(_ state.Gone, index state.Index) bool { return view.Applied >= index })
}

// dropBatch drops what the view names and the log was not told of yet, up to dropsAtOnce. It tells whether there may be
// more to do at once.
func (x *executor) dropBatch(ctx context.Context, view *state.View, said confirmations) (more bool) {
	said.forget(view)
	var drops []*state.Gone
	view.DropsOn(x.n.id, func(e *state.Extent) bool {
		since, _ := e.FormerSince(x.n.id)
		if g := (&state.Gone{Extent: e.ID, Node: x.n.id, Since: since}); !said.told(view, g) {
			drops = append(drops, g)
		}
		return len(drops) < dropsAtOnce
	})
	var confirmed []*state.Gone
	for _, g := range drops {
		if err := x.drop(ctx, g); err != nil {
			if ctx.Err() == nil {
				x.n.logger.Error("file not dropped", "extent", uint64(g.Extent), "error", err)
			}
			continue
		}
		confirmed = append(confirmed, g)
	}
	answers := make([]proposed, len(confirmed))
	var wg sync.WaitGroup
	for i, g := range confirmed {
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers[i] = x.n.reportGone.proposeAt(ctx, g)
		}()
	}
	wg.Wait()
	for i, g := range confirmed {
		switch err := answers[i].err; {
		case err == nil:
			said[*g], more = answers[i].index, true
		case ctx.Err() == nil:
			x.n.logger.Warn("drop not confirmed yet", "extent", uint64(g.Extent), "error", err)
		}
	}
	return more
}

// drop waits for work on the extent to end, fences off what might still come, and removes the file.
func (x *executor) drop(ctx context.Context, g *state.Gone) error {
	if err := x.idle(ctx, g.Extent); err != nil {
		return err
	}
	id := extent.ID(g.Extent)
	if err := x.n.store.RaiseFence(id, extent.Fence(g.Since)); err != nil && extent.CodeOf(err) != extent.CodeStaleFence {
		return err
	}
	return x.n.store.Drop(id)
}
