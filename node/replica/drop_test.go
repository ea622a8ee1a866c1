package replica

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A node that is behind sees the files that it has dropped named for long, and says of each once that it is gone.
func TestDropIsConfirmedOnce(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1 n2\ncreate on=n1,n2\nstart create\nfinish create done\ndelete 1\nstart delete")
	store, _, err := extent.Open(vfs.NewMem(), "/store", extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	var count, entry atomic.Uint64
	entry.Store(uint64(s.State.Applied) + 3)
	drops := report.NewQueue(func(_ context.Context, cmds []state.Command) (wire.ProposeReply, error) {
		count.Add(uint64(len(cmds)))
		return wire.ProposeReply{Index: entry.Load(), Results: make([]wire.ProposeResult, len(cmds))}, nil
	}, clock.Of(mux.Clock{}))
	go drops.Run(t.Context())
	x := NewExecutor(ExecutorOptions{ID: "n1", Store: store, Logger: slog.New(slog.DiscardHandler), Drops: drops})
	d := newDropping()
	drop := func(view *state.View) (begun int) {
		begun = x.beginDrops(t.Context(), view, d)
		d.wg.Wait()
		return begun
	}
	view := s.State.Snapshot()
	for round := range 100 {
		if begun := drop(view); (begun > 0) != (round == 0) {
			t.Fatalf("round %d: %d drops begun", round, begun)
		}
	}
	if count := count.Load(); count != 1 {
		t.Errorf("confirmed %d times while the state stands still, want once", count)
	}
	// The entry is applied, and did not do what it should.
	s.RunAll("session\nsession\nsession")
	entry.Add(1)
	drop(s.State.Snapshot())
	if count := count.Load(); count != 2 {
		t.Errorf("confirmed %d times, want again once the entry is applied in vain", count)
	}
	s.RunAll("gone 1 n1")
	drop(s.State.Snapshot())
	if count := count.Load(); count != 2 || len(d.reported) != 0 || !d.none() {
		t.Errorf("confirmed %d times, %d remembered, after it was done", count, len(d.reported))
	}
}

// A drop that does not end, here because its confirmation does not, holds up no other.
func TestDropsDoNotWaitForEachOther(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1\ncreate on=n1\nstart create\nfinish create done\ndelete 1\nstart delete")
	first := s.State.Snapshot()
	store, _, err := extent.Open(vfs.NewMem(), "/store", extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	answer := make(chan struct{})
	drops := report.NewQueue(func(_ context.Context, cmds []state.Command) (wire.ProposeReply, error) {
		<-answer
		return wire.ProposeReply{Index: 1000, Results: make([]wire.ProposeResult, len(cmds))}, nil
	}, clock.Of(mux.Clock{}))
	go drops.Run(t.Context())
	x := NewExecutor(ExecutorOptions{ID: "n1", Store: store, Logger: slog.New(slog.DiscardHandler), Drops: drops})
	d := newDropping()
	if begun := x.beginDrops(t.Context(), first, d); begun != 1 {
		t.Fatalf("%d drops begun, want 1", begun)
	}
	s.RunAll("create on=n1\nstart create\nfinish create done\ndelete 2\nstart delete")
	if begun := x.beginDrops(t.Context(), s.State.Snapshot(), d); begun != 1 {
		t.Errorf("%d drops begun while another waits, want 1", begun)
	}
	close(answer)
	d.wg.Wait()
	if len(d.reported) != 2 {
		t.Errorf("%d drops reported, want 2", len(d.reported))
	}
}

// Fences of extents that the cell has forgotten leave the file. Those of extents to come, and of others that
// are here or known, stay.
func TestForgottenFences(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1\ncreate on=n1\nstart create\nfinish create done\ndelete 1\nstart delete\ngone 1 n1\ncreate on=n1")
	store, _, err := extent.Open(vfs.NewMem(), "/store", extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for id := range extent.ID(4) {
		if err := store.RaiseFence(id, 5); err != nil {
			t.Fatal(err)
		}
	}
	New(Options{ID: "n1", Store: store, Logger: slog.New(slog.DiscardHandler)}).ForgetFences(s.State.Snapshot())
	var kept []extent.ID
	for id := range extent.ID(4) {
		if store.Fence(id) == 5 {
			kept = append(kept, id)
		}
	}
	if len(kept) != 2 || kept[0] != 2 || kept[1] != 3 {
		t.Errorf("fences of extents %v stay, want those of 2, which is there, and 3, which is to come", kept)
	}
}
