package replica

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// The comparison at a start does not touch the file of a sealed extent of which the store's catalogue says what the log
// says. What the catalogue says otherwise, or not at all, is looked into.
func TestReconcileLeavesSealedAlone(t *testing.T) {
	var lines strings.Builder
	lines.WriteString("join n1\n")
	for range 4 {
		lines.WriteString("create on=n1\nstart create executor=n1\nfinish create done\n")
	}
	for id := 1; id <= 3; id++ {
		fmt.Fprintf(&lines, "seal %d\nstart seal executor=n1\nfinish seal done length=100 sum=1 confirmed=n1\n", id)
	}
	log := newMemLog(lines.String())
	view := log.View()
	for id := state.ExtentID(1); id <= 3; id++ {
		if e := view.Extent(id); e == nil || e.State != state.ExtentSealed || e.Length != 100 {
			t.Fatalf("extent %d: %+v", id, e)
		}
	}
	fault := vfs.NewFault(vfs.NewMem())
	fill(t, fault, view)
	looked := watchOpens(fault)
	store, _, err := extent.Open(fault, "/store", extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if got := looked(); !slices.Equal(got, []string{"4.ext"}) {
		t.Fatalf("an open looks into %v, want the open extent alone", got)
	}
	var reported []state.Command
	rs := New(Options{
		ID: "n1", Log: log, Store: store, Reach: &Reachability{}, Clock: testClock(), Logger: noLogger(),
		AskSeal: func(state.ExtentID) {},
		Propose: func(_ context.Context, cmds []state.Command) (wire.ProposeReply, error) {
			reported = append(reported, cmds...)
			return wire.ProposeReply{}, nil
		},
	})
	if err := rs.reconcileReplicas(t.Context(), view); err != nil {
		t.Fatal(err)
	}
	if got := looked(); !slices.Equal(got, []string{"2.ext", "3.ext"}) {
		t.Fatalf("the comparison looks into %v, want 2.ext, which is shorter, and 3.ext, of another birth", got)
	}
	if len(reported) != 1 || reported[0].(*state.Suspect).Extent != 2 {
		t.Fatalf("reported %+v, want that extent 2 is too short", reported)
	}
	if rs.unexplained(view, 1) != "" || rs.unexplained(view, 3) == "" {
		t.Fatal("extent 1 is the cell's, and the file of extent 3 is not")
	}
	if got := looked(); len(got) > 0 {
		t.Fatalf("looks into %v again", got)
	}
}

// fill makes the files of a node that has stopped, and so many others that it has written a catalogue.
func fill(t *testing.T, fs vfs.FS, view *state.View) {
	t.Helper()
	s, _, err := extent.Open(fs, "/store", extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for id := extent.ID(1); id < 1100; id++ {
		length, birth := 100, extent.Birth(0)
		if e := view.Extent(state.ExtentID(id)); e != nil {
			birth = extent.Birth(e.Birth())
		}
		switch id {
		case 2:
			length = 99
		case 3:
			birth++
		}
		err := s.Create(id, 1, birth)
		if err == nil {
			err = s.Append(id, 1, 0, make([]byte, length))
		}
		if err == nil && id != 4 {
			err = s.Seal(id, uint64(length))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// watchOpens answers which files of the first nine extents were opened since it was asked last.
func watchOpens(fault *vfs.Fault) func() []string {
	var mu sync.Mutex
	var names []string
	fault.Set(func(c vfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		name := c.Name[strings.LastIndex(c.Name, "/")+1:]
		if c.Op == vfs.OpOpen && len(name) == len("1.ext") && !slices.Contains(names, name) {
			names = append(names, name)
		}
		return nil
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := names
		names = nil
		slices.Sort(out)
		return out
	}
}
