package logs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// growing is a log that nodes tell page by page.
type growing struct {
	entries []wire.LogEntry // from index 1
	first   uint64          // before it, nobody has them any more
	page    int
	down    bool
}

func (g *growing) add(cmds ...state.Command) {
	index := state.Index(len(g.entries) + 1)
	g.entries = append(g.entries, describe.Entry(raftlog.EntryInfo{
		Index: index, Term: 1, Kind: "commands", Commands: cmds,
	}))
}

func (g *growing) ask(_ context.Context, req wire.LogRequest) (wire.LogReply, error) {
	if g.down {
		return wire.LogReply{}, wire.Errorf(wire.OpLogList, wire.CodeUnavailable, "nobody answers")
	}
	reply := wire.LogReply{Node: "n1", First: g.first, Last: uint64(len(g.entries))}
	for i := max(req.From, g.first, 1); i <= reply.Last && len(reply.Entries) < g.page; i++ {
		reply.Entries = append(reply.Entries, g.entries[i-1])
	}
	return reply, nil
}

// tailOf reads a log with what happens each time when there is nothing more, and is what was shown and said. It ends
// after the last of these steps.
func tailOf(t *testing.T, g *growing, tail Tail, steps ...func()) (shown []uint64, said []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tail.ask, tail.Follow = g.ask, true
	tail.pause = func(context.Context) {
		if len(steps) == 0 {
			cancel()
			return
		}
		steps[0]()
		steps = steps[1:]
	}
	tail.Skipped = func(from, to uint64) { said = append(said, fmt.Sprintf("skipped %d to %d", from, to)) }
	tail.Silent = func(err error) { said = append(said, fmt.Sprintf("silent: %v", err != nil)) }
	for e, err := range tail.Entries(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, e.Index)
	}
	return shown, said
}

// Each entry comes once and in order, over pages and over a time in which nobody answers. What was compacted meanwhile
// is named.
func TestTail(t *testing.T) {
	noop := func(g *growing, n int) {
		for range n {
			g.add(&state.NodeRoom{Node: "n1"})
		}
	}
	g := &growing{first: 1, page: 3}
	noop(g, 8)
	shown, said := tailOf(t, g, Tail{From: 2},
		func() { noop(g, 4) },
		func() { g.down = true },
		func() { noop(g, 1) }, // nobody answers
		func() { g.down = false },
		func() { noop(g, 5); g.first = 17 },
	)
	if want := []uint64{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 18}; !slices.Equal(shown, want) {
		t.Errorf("shown: %v, want %v", shown, want)
	}
	if want := []string{"silent: true", "silent: false", "skipped 14 to 16"}; !slices.Equal(said, want) {
		t.Errorf("said: %q, want %q", said, want)
	}
}

// What starts and ends an operation is known by what admitted it, also if that came later than the tail began.
func TestTailKnowsStories(t *testing.T) {
	g := &growing{first: 1, page: 10}
	shown, _ := tailOf(t, g, Tail{From: 1, Filter: Filter{Kinds: []string{"seal"}}},
		func() {
			g.add(&state.Admit{Kind: policies.KindSeal, Extent: 7}, &state.Admit{Kind: policies.KindDelete, Extent: 8})
			g.add(&state.Start{Op: state.NewOpID(1, 1)})
			g.add(&state.Start{Op: state.NewOpID(1, 0), Executor: "n1"})
		},
		func() { g.add(&state.Finish{Op: state.NewOpID(1, 0), Outcome: state.OutcomeDone}) },
	)
	if want := []uint64{1, 3, 4}; !slices.Equal(shown, want) {
		t.Errorf("shown: %v, want %v", shown, want)
	}
}

// An error that asking again does not mend ends it.
func TestTailEnds(t *testing.T) {
	denied := wire.Errorf(wire.OpLogList, wire.CodeDenied, "not for you")
	tail := Tail{From: 1, Follow: true, pause: func(context.Context) { t.Fatal("asked again") }, Silent: func(error) {},
		ask: func(context.Context, wire.LogRequest) (wire.LogReply, error) { return wire.LogReply{}, denied }}
	for _, err := range tail.Entries(t.Context()) {
		if !errors.Is(err, denied) {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Error("it ended without an error")
}
