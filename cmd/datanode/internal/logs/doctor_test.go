package logs

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// TestDoctor reads testdata/doctor: "cell" writes a log by lines of package statetest, "doctor" prints what is
// suspicious in it, with from= and without= as in TestExplain, stuck-after= and repeats=.
func TestDoctor(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "doctor"), func(t *testing.T, path string) {
		w := newWritten()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "cell" {
				return w.RunAll(d.Input)
			}
			var c Complaints
			var from, without uint64
			var stuckAfter string
			d.MaybeScanArgs(t, "from", &from)
			d.MaybeScanArgs(t, "without", &without)
			d.MaybeScanArgs(t, "repeats", &c.Repeats)
			d.MaybeScanArgs(t, "stuck-after", &stuckAfter)
			c.StuckAfter, _ = time.ParseDuration(stuckAfter)
			return diagnosed(t, w.export(t, from, without), c)
		})
	})
}

func diagnosed(t *testing.T, f *File, c Complaints) string {
	t.Helper()
	d, err := Diagnose(t.Context(), f, Range{}, time.Time{}, c)
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "entries %d to %d, %d looked at\n", d.First, d.Last, d.Entries)
	if d.Partial != "" {
		fmt.Fprintf(&b, "partial: %s\n", d.Partial)
	}
	for _, f := range d.Findings {
		fmt.Fprintf(&b, "%s: %s\n  %d times, entries %d, %s to %s, until %s\n  %s\n", f.Kind, f.What, f.Count, f.Entries,
			stampText(f.Since), stampText(f.Last), stampText(f.Until), f.Do)
	}
	return strings.ReplaceAll(b.String(), f.Path, "FILE")
}

// readEntry is an entry as a folder has it.
func readEntry(index, term uint64, cell, wall time.Duration, cmds ...state.Command) *step {
	const day = 20_000 * 24 * time.Hour
	info := raftlog.EntryInfo{Index: state.Index(index), Term: term, Kind: "commands", Bytes: 100, Commands: cmds,
		Micros: state.Micros((day + cell).Microseconds()), Appended: state.Micros((day + wall).Microseconds())}
	return &step{Entry: Entry{read: &info}, commands: cmds}
}

// A clock that was set is found by what it moves more than time goes by; one that the cell's time catches up with, or
// an idle night in which it drifts, is not.
func TestClocksThatWereSet(t *testing.T) {
	for _, c := range []struct {
		name string
		at   []time.Duration // cell, wall, one after the other
		says string
	}{
		{"even", []time.Duration{0, 0, time.Hour, time.Hour, 2 * time.Hour, 2*time.Hour + time.Minute}, ""},
		{"forward", []time.Duration{0, 0, time.Second, time.Minute}, "set forward by 59s"},
		{"back", []time.Duration{0, 0, time.Second, -time.Hour}, "set back by 1h0m1s"},
		{"caught up with", []time.Duration{0, time.Hour, 30 * time.Minute, time.Hour + time.Second}, ""},
		{"twice", []time.Duration{0, 0, 1, time.Minute, 2, 0}, "a clock was not where it should be; the last time the"},
	} {
		var w clocks
		for i := 0; i < len(c.at); i += 2 {
			w.take(readEntry(uint64(i+1), 1, c.at[i], c.at[i+1]).Entry)
		}
		got := fmt.Sprint(w.findings())
		if (c.says == "") != (len(w.findings()) == 0) || !strings.Contains(got, c.says) {
			t.Errorf("%s: %s, want %q", c.name, got, c.says)
		}
	}
	var w clocks
	w.take(readEntry(1, 1, 0, 0).Entry)
	w.take(readEntry(2, 2, time.Second, time.Minute).Entry)
	if got := fmt.Sprint(w.findings()); !strings.Contains(got, "of the leader of term 2 is 59s ahead of") {
		t.Errorf("another leader's clock: %s", got)
	}
}

// Leaders that come one after the other within minutes are found, those of a month are not.
func TestLeadersThatChange(t *testing.T) {
	for pause, want := range map[time.Duration]int{time.Minute: 1, time.Hour: 0} {
		var l leaders
		for i := range uint64(6) {
			l.take(1+2*i, place{i + 1, int64(i) * pause.Microseconds()})
		}
		got := l.findings()
		if len(got) != want {
			t.Errorf("a leader each %s: %+v, want %d", pause, got, want)
		}
		if want == 1 && (!strings.Contains(got[0].What, "5 leaders began within 4m0s; 5 elections") || got[0].Count != 5) {
			t.Errorf("%+v", got[0])
		}
	}
}

// Commands that grow are found by type, and huge entries; what is as large as ever, and what there is little of, is
// not.
func TestEntriesThatGrow(t *testing.T) {
	const n = 800
	for _, c := range []struct {
		name string
		size func(i int) int
		want int
	}{
		{"as ever", func(int) int { return 4000 }, 0}, {"grows", func(i int) int { return 1000 + 10*i }, 1},
		{"small", func(i int) int { return 10 + i/4 }, 0},
		{"one huge", func(i int) int { return 100 + i/400*(400/max(i, 1))*hugeEntry }, 1},
	} {
		g := newGrowth(1, n)
		for i := range n {
			one := readEntry(uint64(i+1), 1, 0, 0, &state.Cancel{})
			one.read.Bytes = c.size(i)
			g.take(one)
		}
		if got := g.findings(); len(got) != c.want {
			t.Errorf("%s: %+v, want %d", c.name, got, c.want)
		}
	}
}

// What a policy may not decide, and what it did not decide, is told with the policy and the entries.
func TestDoctorOnDecisions(t *testing.T) {
	d := &diagnosing{refused: newRepeats(), failed: newRepeats(), overruled: newRepeats(), fallback: newRepeats(),
		falls: newRepeats(), growth: newGrowth(1, 10)}
	made := state.Decision{Policy: "sha256:0123456789abcdef", Fallback: "policy p 1 failed: out of budget",
		Conflicts: []state.Conflict{{WithKind: policies.KindRepair, Asked: policies.Supersede, Final: policies.Wait}}}
	for i := range uint64(10) {
		d.take(readEntry(i+1, 1, 0, 0, &state.Admit{Kind: policies.KindDelete, Decision: made}), true)
	}
	d.repeated()
	var got []string
	for _, f := range d.out.Findings {
		got = append(got, fmt.Sprintf("%s %d %d: %s", f.Kind, f.Count, f.Entries, f.What))
	}
	want := "overruled 10 [1 6 7 8 9 10]: policy sha256:0123456789ab answered supersede when a delete met a repair, " +
		"and it became wait\nfallback 10 [1 6 7 8 9 10]: the native default decided: policy p 1 failed: out of budget"
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}

// However many texts there are, few are kept.
func TestRepeatsAreBounded(t *testing.T) {
	r := newRepeats()
	for i := range 3 * mostRepeats {
		r.note(fmt.Sprintf("text%d %d", i, i), place{uint64(i), 1})
		r.note("again 7", place{uint64(i), 1})
	}
	all := r.often(2)
	if len(r.by) != mostRepeats || len(all) != 2 || all[0].count != 3*mostRepeats || all[1] != &r.rest {
		t.Errorf("%d texts are kept, %d are told", len(r.by), len(all))
	}
}
