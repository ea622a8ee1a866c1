package diskhang

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// fakeLog leads until it is asked to hand that on.
type fakeLog struct {
	leads   atomic.Bool
	changed chan struct{}
}

func (l *fakeLog) Hangs() error                             { return nil }
func (l *fakeLog) HangChanged() <-chan struct{}             { return l.changed }
func (l *fakeLog) IsLeader() bool                           { return l.leads.Load() }
func (l *fakeLog) TransferLeadership(context.Context) error { l.leads.Store(false); return nil }

// A write that takes long makes the disk hang: who waits for a replica here is let go, leadership is handed on; when it
// has returned, all is as before.
func TestHangBeginsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{changed: make(chan struct{})}
		log.leads.Store(true)
		var longest atomic.Int64
		w := New(Options{
			Node: "n1", Log: log, Longest: func() time.Duration { return time.Duration(longest.Load()) }, HandOn: time.Second,
			Clock: clock.Of(mux.Clock{}), Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()

		longest.Store(int64(After))
		time.Sleep(2 * Look)
		if w.Err() != nil || !log.IsLeader() {
			t.Errorf("hangs too soon: %v", w.Err())
		}
		e := &state.Extent{Replicas: []state.Replica{{Node: "n1", State: state.ReplicaWhole}}}
		returns := make(chan struct{})
		got := make(chan map[state.NodeID]error)
		go func() {
			got <- w.EachReplica(e, nil, func(state.NodeID) error { <-returns; return errors.New("late") })
		}()
		change := w.Changed()
		longest.Store(int64(After + 1))
		<-change
		if errs := <-got; wire.CodeOf(errs["n1"]) != wire.CodeUnavailable {
			t.Errorf("who waits is told %v", errs)
		}
		synctest.Wait()
		if wire.CodeOf(w.Err()) != wire.CodeUnavailable || log.IsLeader() {
			t.Errorf("hangs: %v, leads: %t", w.Err(), log.IsLeader())
		}
		close(returns)
		change = w.Changed()
		longest.Store(0)
		<-change
		if w.Err() != nil {
			t.Errorf("the disk answers again: %v", w.Err())
		}
		if errs := w.EachReplica(e, nil, func(state.NodeID) error { return nil }); errs["n1"] != nil {
			t.Errorf("after the hang: %v", errs)
		}
		cancel()
		<-ended
	})
}
