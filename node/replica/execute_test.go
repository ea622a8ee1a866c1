package replica

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// executing is an Executor over a log in memory that takes its reports.
type executing struct {
	*Executor
	log      *memLog
	finishes atomic.Int32 // that were reported
	end      func()       // and wait
}

func execute(t *testing.T, log *memLog, carryOut CarryOut) *executing {
	t.Helper()
	x := &executing{log: log}
	propose := func(_ context.Context, cmds []state.Command) (wire.ProposeReply, error) {
		reply := wire.ProposeReply{Results: make([]wire.ProposeResult, len(cmds))}
		results, index := log.apply(cmds...)
		for i, res := range results {
			if _, ok := cmds[i].(*state.Finish); ok {
				x.finishes.Add(1)
			}
			reply.Results[i].Stale = res.Stale
		}
		reply.Index = uint64(index)
		return reply, nil
	}
	finishes, drops := report.NewQueue(propose, testClock()), report.NewQueue(propose, testClock())
	x.Executor = NewExecutor(ExecutorOptions{
		ID: "n1", Log: log, Store: memStore(t), Clock: testClock(), Logger: noLogger(), Tick: time.Second,
		Ready: func() bool { return true }, Finishes: finishes, Drops: drops,
		CarryOut: carryOut, ForgetFences: func(*state.View) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 3)
	for _, run := range []func(context.Context){x.Run, finishes.Run, drops.Run} {
		go func() { run(ctx); done <- struct{}{} }()
	}
	x.end = func() {
		cancel()
		for range cap(done) {
			<-done
		}
		x.Wait()
	}
	return x
}

const oneRuns = "join n1 n2\ncreate on=n1,n2\nstart create executor=n1"

// What the state has this node carry out is begun, its end is reported, and each start is worked on once.
func TestExecutorReportsEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want state.OpState
	}{
		{"done", nil, state.OpDone},
		{"a failure that is final", &finalError{errors.New("no disk")}, state.OpFailed},
		{"a failure that may pass", errors.New("no disk now"), state.OpQueued},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, begun := newMemLog(oneRuns), 0
				log.lag = 3 * time.Second // this node is behind the leader
				x := execute(t, log, func(context.Context, *state.Op) (*state.Finish, error) {
					begun++
					return &state.Finish{Outcome: state.OutcomeDone}, c.err
				})
				defer x.end()
				time.Sleep(10 * time.Second)
				if got := log.op("create").State; got != c.want || begun != 1 || len(x.Leases()) != 0 {
					t.Errorf("%s after %d begun, want %s after one; working on %v", got, begun, c.want, x.Leases())
				}
			})
		})
	}
}

// What the state does not have this node carry out any more is ended, and nothing is reported of it.
func TestExecutorEndsWhatDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, ended := newMemLog(oneRuns), 0
		x := execute(t, log, func(ctx context.Context, _ *state.Op) (*state.Finish, error) {
			<-ctx.Done()
			ended++
			return nil, ctx.Err()
		})
		defer x.end()
		synctest.Wait()
		o := log.op("create")
		if got := x.Leases(); len(got) != 1 || got[0].Op != uint64(o.ID) || got[0].Fence != uint64(o.Fence) {
			t.Fatalf("working on %v, want on %s", got, o)
		}
		log.run("finish create fail")
		synctest.Wait()
		if got := x.finishes.Load(); ended != 1 || len(x.Leases()) != 0 || got != 0 {
			t.Errorf("%d ended, still working on %v, %d reported", ended, x.Leases(), got)
		}
	})
}
