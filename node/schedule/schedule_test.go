package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// TestLessons runs the cases under testdata. "do" applies lines as entries (see statetest), "state"
// prints the state, "next" the next round, which it applies too when told to, "blocked" says why
// operations do not start, "waits" what waits and until when, "place" where new extents would go. "needs" is what the
// cell itself asks for, "balance" how disks would be brought nearer to each other, "target" and "emptying" say why a
// move or a decommission is refused, "successor" who gets the vote of a node, "stopping" what a stop of nodes would do.
func TestLessons(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		cell := statetest.New()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var b strings.Builder
			switch d.Cmd {
			case "do":
				return cell.RunAll(d.Input)
			case "state":
				cell.State.Describe(&b)
				return b.String()
			case "next":
				return next(t, cell, d)
			case "blocked":
				look := schedule.LookAt(&cell.State.View, schedule.Moment{Cell: cell.Now})
				cell.State.Queued(func(o *state.Op) bool {
					fmt.Fprintf(&b, "%s %s: %s\n", o.ID, o.Kind, look.Blocked(o))
					return true
				})
				return b.String()
			case "waits":
				return waits(cell)
			case "place":
				return place(t, cell, d)
			case "needs":
				return needs(t, cell, d)
			case "balance":
				return balance(t, cell, d)
			case "target":
				return target(t, cell, d)
			case "emptying":
				return outcome(schedule.CheckEmptying(&cell.State.View, cell.State.Node(state.NodeID(d.CmdArgs[0].Key))))
			case "successor":
				return successor(t, cell, d)
			case "stopping":
				return stopping(t, cell, d)
			}
			d.Fatalf(t, "there is no directive %s", d.Cmd)
			return ""
		})
	})
}

func next(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var b strings.Builder
	round := schedule.Next(&cell.State.View, schedule.Moment{Cell: cell.Now, Seen: seen(t, d)})
	for _, c := range round.Needless {
		fmt.Fprintf(&b, "cancel %s: %s\n", c.Op, c.Note)
	}
	for _, s := range round.Starts {
		fmt.Fprintf(&b, "start %s %s", s.Op, cell.State.Op(s.Op).Kind)
		for _, f := range [][2]string{
			{"source", string(s.Source)}, {"target", string(s.Target)},
			{"replaces", string(s.Replaces)}, {"executor", string(s.Executor)},
		} {
			if f[1] != "" {
				fmt.Fprintf(&b, " %s=%s", f[0], f[1])
			}
		}
		fmt.Fprintln(&b)
	}
	if round.Wake != 0 {
		fmt.Fprintf(&b, "look again at %s\n", moment(round.Wake))
	}
	if d.HasArg("apply") {
		for _, res := range apply(cell, round) {
			if res.Err != nil {
				d.Fatalf(t, "the state refuses it: %s", res)
			}
		}
	}
	return b.String()
}

// seen is who leads, and who has not been heard of for a moment.
func seen(t *testing.T, d *datadriven.TestData) schedule.Seen {
	self, silent := "", ""
	if d.HasArg("leader") {
		d.ScanArgs(t, "leader", &self)
	}
	if d.HasArg("silent") {
		d.ScanArgs(t, "silent", &silent)
	}
	return schedule.Seen{Self: state.NodeID(self), Silent: func(id state.NodeID) bool { return string(id) == silent }}
}

// moment is a time since 1970, as a duration where a lesson does not set the clock.
func moment(m state.Micros) string {
	if m.Duration() < 1000*time.Hour {
		return m.Duration().String()
	}
	return m.Time().UTC().Format(time.RFC3339)
}

func apply(cell *statetest.Cell, round schedule.Round) []state.Result {
	var cmds []state.Command
	for _, c := range round.Needless {
		cmds = append(cmds, c)
	}
	for _, s := range round.Starts {
		cmds = append(cmds, s)
	}
	return cell.Apply(cmds...)
}

// waits prints what waits, and until when.
func waits(cell *statetest.Cell) string {
	var b strings.Builder
	look := schedule.LookAt(&cell.State.View, schedule.Moment{Cell: cell.Now})
	say := func(w *schedule.Wait, of string) {
		until := ""
		if w.Until != 0 {
			until = " until " + moment(w.Until)
		}
		fmt.Fprintf(&b, "%s %s: %s since %s%s: %s\n", of, w.Kind(), w.Reason, moment(w.Since), until, w.Why)
	}
	for _, w := range look.Awaited() {
		say(&w, fmt.Sprintf("%d on %s", w.Count, w.Node))
	}
	cell.State.Ops(0, func(o *state.Op) bool {
		if w := look.Wait(o); w != nil {
			say(w, o.ID.String())
		}
		return true
	})
	return b.String()
}

// place prints the nodes of as many extents as times says, each placed after those before.
func place(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var primary, avoid string
	want, times := schedule.Placement{}, 1
	d.ScanArgs(t, "want", &want.Want)
	d.MaybeScanArgs(t, "least", &want.Least)
	d.MaybeScanArgs(t, "primary", &primary)
	d.MaybeScanArgs(t, "avoid", &avoid)
	d.MaybeScanArgs(t, "times", &times)
	want.Primary, want.Avoid = state.NodeID(primary), []state.NodeID{state.NodeID(avoid)}
	var b strings.Builder
	var placed schedule.Placed
	for range times {
		on := schedule.Place(&cell.State.View, want, &placed)
		placed.Add(on)
		fmt.Fprintln(&b, on)
	}
	if why := schedule.WhyNoneTake(&cell.State.View); why != "" {
		fmt.Fprintln(&b, why)
	}
	return b.String()
}

// needs prints what the cell asks for when an open extent may lack replicas for a second.
func needs(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var b strings.Builder
	found := schedule.NeedsOf(schedule.AtTime(&cell.State.View, cell.Now), time.Second)
	for _, n := range found.Wanted {
		fmt.Fprintf(&b, "%s %d", n.Kind, n.Extent)
		if n.Origin == policies.OriginDecommission {
			fmt.Fprint(&b, " for a decommission")
		}
		if n.From != "" {
			fmt.Fprintf(&b, " from=%s", n.From)
		}
		if n.Parent != 0 {
			fmt.Fprintf(&b, " parent=%s", n.Parent)
		}
		if n.To != "" {
			fmt.Fprintf(&b, " to=%s", n.To)
		}
		if n.Urgent {
			fmt.Fprint(&b, " urgent")
		}
		fmt.Fprintln(&b)
	}
	for _, n := range found.Emptied {
		fmt.Fprintf(&b, "%s is empty\n", n.ID)
	}
	if found.Balanced {
		fmt.Fprintln(&b, "balanced")
	}
	return b.String()
}

// balance prints a plan of at most so many moves.
func balance(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var b strings.Builder
	var most int
	d.ScanArgs(t, "most", &most)
	plan := schedule.BalanceOf(&cell.State.View, most)
	for _, n := range plan.Nodes {
		fmt.Fprintf(&b, "%s used=%d of %d, then %d\n", n.Node, n.Used, n.Total, n.After)
	}
	for _, m := range plan.Moves {
		fmt.Fprintf(&b, "move %d from=%s to=%s bytes=%d\n", m.Extent, m.From, m.To, m.Bytes)
	}
	if plan.Waits != "" {
		fmt.Fprintln(&b, plan.Waits)
	}
	if plan.More {
		fmt.Fprintln(&b, "and more")
	}
	return b.String()
}

// target checks a move of an extent to a node.
func target(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var extent uint64
	var to string
	d.ScanArgs(t, "extent", &extent)
	d.ScanArgs(t, "to", &to)
	admit := &state.Admit{Kind: policies.KindMove, Target: state.NodeID(to)}
	err := schedule.NameTarget(&cell.State.View, cell.State.Extent(state.ExtentID(extent)), admit, d.HasArg("force"))
	if err != nil {
		return outcome(err)
	}
	return fmt.Sprintf("named=%t forced=%t\n", admit.Named, admit.Forced)
}

func outcome(err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	return "ok\n"
}

// successor says who gets the vote of a node, where only the nodes of "heard" may.
func successor(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var of, heard string
	d.ScanArgs(t, "of", &of)
	d.ScanArgs(t, "heard", &heard)
	canVote := func(n *state.Node) bool { return n.Takes() && string(n.ID) == heard }
	got, err := schedule.Successor(&cell.State.View, cell.State.Node(state.NodeID(of)), canVote)
	switch {
	case err != nil:
		return err.Error() + "\n"
	case got == nil:
		return "nobody\n"
	}
	return string(got.ID) + "\n"
}

// TestNextIsAccepted grows a random cell by what the scheduler says, and by failures. Whatever it
// says, the state accepts; limits are kept; no round starts what another has started.
func TestNextIsAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := statetest.New()
		cell.RunAll("join n1 n2 n3 n4 n5\nset copies-per-source 1\nset copies-per-target 2\nset max-running 6\nset backoff " +
			"1ms")
		if rapid.Bool().Draw(t, "serial moves") {
			cell.Run("set serial decommission,move")
		}
		for range rapid.IntRange(10, 60).Draw(t, "rounds") {
			for range rapid.IntRange(0, 4).Draw(t, "events") {
				cell.Run(event(t, cell))
			}
			cell.Now += 1e6
			round := schedule.Next(&cell.State.View, schedule.Moment{Cell: cell.Now})
			for i, res := range apply(cell, round) {
				if res.Err != nil {
					t.Fatalf("result %d of %+v: %s", i, round, res)
				}
			}
			if err := limits(&cell.State.View); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func limits(v *state.View) error {
	running, reads, writes, kinds := 0, map[state.NodeID]int{}, map[state.NodeID]int{}, map[policies.Kind]int{}
	v.Running(func(o *state.Op) bool {
		kinds[o.Kind]++
		if o.Kind != policies.KindDelete && o.Kind != policies.KindDecommission {
			running++
		}
		if o.Copies() {
			reads[o.Source]++
			writes[o.Target]++
		}
		return true
	})
	for k, n := range kinds {
		if n > 1 && v.Settings.SerialKinds().Has(k) {
			return fmt.Errorf("%d %ss run", n, k)
		}
	}
	for id := range reads {
		if reads[id] > int(v.Settings.CopiesPerSource) {
			return fmt.Errorf("node %s serves %d copies", id, reads[id])
		}
	}
	for id := range writes {
		if writes[id] > int(v.Settings.CopiesPerTarget) {
			return fmt.Errorf("node %s takes %d copies", id, writes[id])
		}
	}
	if running > int(v.Settings.MaxRunning) {
		return fmt.Errorf("%d operations run", running)
	}
	return nil
}

// event is a line of what clients, nodes and operators do.
func event(t *rapid.T, cell *statetest.Cell) string {
	node := rapid.SampledFrom([]string{"n1", "n2", "n3", "n4", "n5"}).Draw(t, "node")
	extent := rapid.Uint64Range(1, uint64(cell.State.NextExtent)).Draw(t, "extent")
	switch rapid.IntRange(0, 15).Draw(t, "event") {
	case 0, 1:
		want := rapid.IntRange(1, 3).Draw(t, "want")
		placement := schedule.Placement{Want: want, Primary: state.NodeID(node)}
		on := schedule.Place(&cell.State.View, placement, &schedule.Placed{})
		return fmt.Sprintf("create on=%s want=%d", strings.ReplaceAll(strings.Trim(fmt.Sprint(on), "[]"), " ", ","), want)
	case 2, 3:
		return fmt.Sprintf("seal %d", extent)
	case 4, 5:
		return fmt.Sprintf("repair %d", extent)
	case 6:
		return fmt.Sprintf("move %d from=%s", extent, node)
	case 7:
		return fmt.Sprintf("delete %d", extent)
	case 8:
		return fmt.Sprintf("%s %s", rapid.SampledFrom([]string{"down", "up", "up"}).Draw(t, "state"), node)
	case 9:
		return fmt.Sprintf("%s %s", rapid.SampledFrom([]string{"decommission", "recommission"}).Draw(t, "mode"), node)
	case 10:
		return fmt.Sprintf("suspect %d %s", extent, node)
	case 11, 12:
		return fmt.Sprintf("gone %d %s", extent, node)
	}
	var running []state.OpID
	cell.State.Running(func(o *state.Op) bool { running = append(running, o.ID); return true })
	if len(running) == 0 {
		return "gone 1 n1"
	}
	op := rapid.SampledFrom(running).Draw(t, "op")
	outcome := rapid.SampledFrom([]string{"done", "done", "retry", "fail"}).Draw(t, "outcome")
	return fmt.Sprintf("finish %s %s confirmed=n1,n3,n5", op, outcome)
}

func TestTakersAreInOrder(t *testing.T) {
	cell := statetest.New()
	cell.RunAll("join n3 n1 n2 n4\ndown n2\njoin n5 joining")
	if got, want := schedule.Takers(&cell.State.View), []state.NodeID{"n1", "n3", "n4"}; !slices.Equal(got, want) {
		t.Errorf("takers are %v, want %v", got, want)
	}
}

// BenchmarkNext is a round over a long queue of moves that nobody has room for.
func BenchmarkNext(b *testing.B) {
	const queued = 100_000
	cell := statetest.New()
	cell.RunAll("join n1 n2 n3 n4\nset copies-per-target 1")
	for i := 1; i <= queued; i++ {
		cell.Run("create on=n1,n2,n3")
		cell.Run("start create executor=n1")
		cell.Run("finish create done")
		cell.Run(fmt.Sprintf("seal %d", i))
		cell.Run("start seal executor=n1")
		cell.Run("finish seal done confirmed=n1,n2,n3")
		cell.Run(fmt.Sprintf("move %d from=n1", i))
	}
	apply(cell, schedule.Next(&cell.State.View, schedule.Moment{}))
	b.ReportAllocs()
	for b.Loop() {
		schedule.Next(&cell.State.View, schedule.Moment{})
	}
}
