package state_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// TestLessons runs the cases under testdata. Each file starts with an empty cell; "do" applies lines
// as entries (see statetest), "state" prints nodes, extents and open operations, "op" tells the life
// of one. The invariants are checked after every entry.
func TestLessons(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		cell := statetest.New()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "do":
				return do(t, cell, d)
			case "state":
				return describe(cell, d)
			case "op":
				return lives(t, cell, d)
			case "settings":
				var b strings.Builder
				var only string
				d.MaybeScanArgs(t, "only", &only)
				cell.State.Settings.Each(func(key, value, _ string) {
					if only == "" || key == only {
						fmt.Fprintf(&b, "%s %s\n", key, value)
					}
				})
				return b.String()
			case "restart":
				restart(t, cell)
				return ""
			case "usage":
				return usage(cell)
			case "lacking":
				var b strings.Builder
				cell.State.Lacking(func(e *state.Extent) bool { fmt.Fprintln(&b, e); return true })
				return b.String()
			case "sessions":
				var b strings.Builder
				cell.State.Sessions(func(ses *state.Session) bool { fmt.Fprintln(&b, ses); return true })
				return b.String()
			case "queue":
				var b strings.Builder
				cell.State.Queued(func(o *state.Op) bool { fmt.Fprintln(&b, o); return true })
				return b.String()
			}
			d.Fatalf(t, "there is no directive %s", d.Cmd)
			return ""
		})
	})
}

// restart takes the state through a snapshot.
func restart(t *testing.T, cell *statetest.Cell) {
	before := state.Dumped(&cell.State.View)
	s, into := state.Restore(cell.State.Header())
	if err := cell.State.Dump(into); err != nil {
		t.Fatal(err)
	}
	cell.State = s
	if after := state.Dumped(&s.View); after != before {
		t.Fatalf("after a restart\n%s\nbefore it\n%s", after, before)
	}
}

func do(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var b strings.Builder
	for line := range strings.Lines(d.Input) {
		fmt.Fprintln(&b, cell.Run(strings.TrimSpace(line)))
		if err := state.CheckInvariants(&cell.State.View); err != nil {
			d.Fatalf(t, "after %q: %v", line, err)
		}
	}
	return b.String()
}

// usage is what is used of each class and by each identity.
func usage(cell *statetest.Cell) string {
	var b strings.Builder
	for _, by := range []state.QuotaBy{state.QuotaByClass, state.QuotaByIdentity} {
		cell.State.EachUsed(by, func(name string, u state.Usage) bool {
			fmt.Fprintf(&b, "%s %q: %d extents, %d bytes\n", by, name, u.Extents, u.Bytes)
			return true
		})
	}
	return b.String()
}

// describe prints the lines that start with one of the words given, all without.
func describe(cell *statetest.Cell, d *datadriven.TestData) string {
	var all, b strings.Builder
	cell.State.Describe(&all)
	for line := range strings.Lines(all.String()) {
		for _, a := range d.CmdArgs {
			if strings.HasPrefix(line, a.Key) {
				b.WriteString(line)
			}
		}
	}
	if len(d.CmdArgs) == 0 {
		return all.String()
	}
	return b.String()
}

func lives(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var b strings.Builder
	for _, a := range d.CmdArgs {
		id, err := cell.Op(a.Key)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		if o := cell.State.Op(id); o != nil {
			o.Describe(&b)
		} else {
			fmt.Fprintf(&b, "op %s is not known\n", id)
		}
	}
	return b.String()
}
