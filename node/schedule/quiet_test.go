package schedule

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// changes are nights, and days, on which clocks were changed: by an hour, by half of one, by two, by a day, over
// midnight, into a year with another rule.
var changes = []struct{ zone, near string }{
	{"Europe/Berlin", "2026-03-29T01:00:00Z"},
	{"Europe/Berlin", "2026-10-25T01:00:00Z"},
	{"America/New_York", "2027-03-14T07:00:00Z"},
	{"America/Havana", "2024-03-10T05:00:00Z"}, // at midnight
	{"America/Sao_Paulo", "2018-11-04T03:00:00Z"},
	{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"},
	{"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
	{"Antarctica/Troll", "2026-03-29T01:00:00Z"},
	{"Pacific/Apia", "2011-12-30T10:00:00Z"},
	{"Pacific/Kwajalein", "1993-08-21T12:00:00Z"},
	{"America/Caracas", "2007-12-09T07:00:00Z"},
	{"Africa/Casablanca", "2026-02-15T02:00:00Z"},
	{"UTC", "2026-01-01T00:00:00Z"},
}

// TestHoldingIsWhatClocksShow compares the end of windows with what is found by looking at the clock of each minute.
func TestHoldingIsWhatClocksShow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		change := rapid.SampledFrom(changes).Draw(t, "change")
		near, err := time.Parse(time.RFC3339, change.near)
		if err != nil {
			t.Fatal(err)
		}
		loc, err := time.LoadLocation(change.zone)
		if err != nil {
			t.Fatal(err)
		}
		var all []window
		for range rapid.IntRange(1, 3).Draw(t, "windows") {
			from := rapid.IntRange(0, 95).Draw(t, "from") * 15
			all = append(all, window{state.Window{
				Days: state.Days(rapid.IntRange(1, 127).Draw(t, "days")), From: uint16(from),
				To:   uint16(rapid.IntRange(from/15+1, 96).Draw(t, "to") * 15),
				Zone: change.zone, Kinds: state.Kinds(policies.KindMove),
			}, loc})
		}
		at := near.Add(time.Duration(rapid.IntRange(-36*60, 36*60).Draw(t, "minutes")) * time.Minute)
		end := at
		for end.Sub(at) < 8*24*time.Hour && shown(all, end.In(loc)) {
			end = end.Add(time.Minute)
		}
		h := holding(all, state.Kinds(policies.KindMove), at)
		switch {
		case h == nil && end.After(at):
			t.Fatalf("%v at %s: no hold, the clocks show one until %s", all, at.In(loc), end.In(loc))
		case h == nil:
		case h.left == 0:
			if end.Sub(at) < 8*24*time.Hour-24*time.Hour {
				t.Fatalf("%v at %s: a hold without an end, the clocks show one at %s", all, at.In(loc), end.In(loc))
			}
		case !h.until.Equal(end) || h.left != end.Sub(at):
			t.Fatalf("%v at %s: held until %s, the clocks say until %s", all, at.In(loc), h.until, end.In(loc))
		}
	})
}

// shown is by what a clock on the wall shows, which is text.
func shown(all []window, t time.Time) bool {
	for _, w := range all {
		from, to := fmt.Sprintf("%02d:%02d", w.From/60, w.From%60), fmt.Sprintf("%02d:%02d", w.To/60, w.To%60)
		if clock := t.Format("15:04"); w.Days.Has(t.Weekday()) && from <= clock && clock < to {
			return true
		}
	}
	return false
}

// A cell that was stopped for the weekend has a time that is behind; a machine may have a clock that was set ahead. The
// window of either holds.
func TestBothClocksAreAsked(t *testing.T) {
	all := readWindows("mon-fri 08:00-18:00 UTC move")
	monday, sunday := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC), time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	move := &state.Op{Kind: policies.KindMove}
	for name, c := range map[string]struct {
		cell, wall time.Time
		left       time.Duration // 0: not held
	}{
		"in neither": {sunday, sunday, 0},
		"cell":       {monday, sunday, 9 * time.Hour},
		"wall":       {sunday, monday, 9 * time.Hour},
		"both":       {monday, monday.Add(-30 * time.Minute), 9*time.Hour + 30*time.Minute},
	} {
		q := quiet{all: all, cell: c.cell, wall: c.wall}
		h := q.on(nil, move)
		if (h != nil) != (c.left != 0) || h != nil && h.left != c.left {
			t.Errorf("%s: held by %v, want for %s", name, h, c.left)
		}
	}
}

// The windows are read anew when the setting changes, and not before.
func TestZonesAreReadOnce(t *testing.T) {
	var z Zones
	first := z.of("mon 08:00-18:00 UTC move")
	if again := z.of("mon 08:00-18:00 UTC move"); &again[0] != &first[0] {
		t.Error("the same text was read twice")
	}
	if other := z.of("tue 08:00-18:00 UTC move"); !other[0].Days.Has(time.Tuesday) {
		t.Errorf("after a change the windows are %v", other)
	}
	if none := z.of(""); none != nil {
		t.Errorf("without windows there are %v", none)
	}
}

func TestCheckZones(t *testing.T) {
	for text, ok := range map[string]bool{
		"none": true, "mon 08:00-18:00 UTC move": true, "mon 08:00-18:00 Europe/Berlin move": true,
		"mon 08:00-18:00 Middle/Earth move": false, "mon 08:00-18:00 UTC move; tue 08:00-18:00 europe move": false,
		"no window": true, // the state says what is wrong with it
	} {
		if err := CheckZones(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A text of a newer build holds everything that it could be about.
func TestWindowsOfANewerBuild(t *testing.T) {
	q := quiet{all: readWindows("on the ides of march")}
	for _, k := range []policies.Kind{policies.KindMove, policies.KindDecommission, policies.KindRepair} {
		if q.on(&state.New().View, &state.Op{Kind: k}) == nil {
			t.Errorf("%s starts", k)
		}
	}
}

// BenchmarkQuietAndSerial is what the two checks cost a look at one operation: in a round of its own, and among many.
func BenchmarkQuietAndSerial(b *testing.B) {
	const windows = "mon-fri 08:00-18:00 Europe/Berlin move; mon-fri 08:00-18:00 America/New_York move; " +
		"sun 02:00-03:00 UTC move,repair"
	at := time.Date(2026, 12, 5, 12, 0, 0, 0, time.UTC)
	v := &state.New().View
	v.Settings.QuietWindows = windows
	move := &state.Op{Kind: policies.KindMove}
	var zones Zones
	look := func() *Look {
		l := &Look{v: v, serial: v.Settings.SerialKinds()}
		l.quiet = quiet{all: zones.of(windows), cell: at, wall: at}
		return l
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l := look()
			if l.before(move) != nil || l.quiet.on(v, move) != nil {
				b.Fatal("held")
			}
		}
	})
	b.Run("among many", func(b *testing.B) {
		l := look()
		b.ReportAllocs()
		for b.Loop() {
			if l.before(move) != nil || l.quiet.on(v, move) != nil {
				b.Fatal("held")
			}
		}
	})
}
