package schedule

import (
	"fmt"
	"sync"
	"time"
	_ "time/tzdata" // where the machine has no time zones of its own

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Zones are the time zones that the quiet windows name, read once for each change of the setting. Its zero value is
// ready, nil reads them each time. Safe for concurrent use.
//
// They are the machine's, else those that were built in. Only the leader acts by them, so that nothing differs between
// replicas when machines know other rules.
type Zones struct {
	mu   sync.Mutex
	text string // under mu, as are the windows of it
	all  []window
}

// window is a quiet window by the clocks of its zone.
type window struct {
	state.Window
	loc *time.Location // nil: this machine does not know it
}

// CheckZones tells of a zone that this machine does not know, nil when it knows all. It is asked before a setting is
// proposed; windows that cannot be read are left to the state.
func CheckZones(text string) error {
	all, err := state.ParseWindows(text)
	if err != nil {
		return nil
	}
	for _, w := range all {
		if _, err := time.LoadLocation(w.Zone); err != nil {
			return fmt.Errorf("window %q: there is no time zone %s here (%w); want a name of the tz database, "+
				"such as UTC or Europe/Berlin", w, w.Zone, err)
		}
	}
	return nil
}

// of are the windows of a setting.
func (z *Zones) of(text string) []window {
	if text == "" {
		return nil
	}
	if z == nil {
		return readWindows(text)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.text != text {
		z.text, z.all = text, readWindows(text)
	}
	return z.all
}

// Unknown are the zones of a setting that this machine does not know: their windows never end.
func (z *Zones) Unknown(text string) (zones []string) {
	for _, w := range z.of(text) {
		if w.loc == nil {
			zones = append(zones, w.Zone)
		}
	}
	return zones
}

// readWindows is of a text that the state has checked. Should a newer build have written one that this one cannot
// read, nothing starts that a window could hold: that is what windows are for.
func readWindows(text string) []window {
	parsed, err := state.ParseWindows(text)
	if err != nil {
		return []window{{Window: state.Window{Zone: "", Kinds: ^state.KindSet(0)}}}
	}
	all := make([]window, len(parsed))
	for i, w := range parsed {
		loc, err := time.LoadLocation(w.Zone)
		if err != nil {
			loc = nil
		}
		all[i] = window{w, loc}
	}
	return all
}

// open reports whether it is inside the window at t. What counts is what clocks show there: an hour that they skip at
// night has no window, and one that they show twice has it twice.
func (w *window) open(t time.Time) bool {
	if w.loc == nil {
		return true
	}
	t = t.In(w.loc)
	minute := uint16(t.Hour()*60 + t.Minute())
	return w.Days.Has(t.Weekday()) && w.From <= minute && minute < w.To
}

// maxChanges bounds the changes of a zone's clocks within one window.
const maxChanges = 16

// end is when a window that is open at t closes, the zero time when that cannot be told. time.Date would not do: it
// gives either of two moments when clocks are set back.
func (w *window) end(t time.Time) time.Time {
	if w.loc == nil {
		return time.Time{}
	}
	for range maxChanges {
		t = t.In(w.loc)
		shown := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute +
			time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
		end := t.Add(time.Duration(w.To)*time.Minute - shown)
		_, change := t.ZoneBounds()
		if change.IsZero() || end.Before(change) {
			return end
		}
		if t = change; !w.open(t) {
			return t
		}
	}
	return time.Time{}
}

// hold is what keeps operations of some kinds from starting.
type hold struct {
	window *window
	left   time.Duration // until it ends; 0: nobody can tell
	until  time.Time     // in the zone of the window
}

// longestHold is how far the end of windows that follow each other is looked for.
const longestHold = 8 * 24 * time.Hour

// holding is the hold on any of kinds at t, nil when they may start. Windows that follow each other, as those over a
// midnight do, are one.
func holding(all []window, kinds state.KindSet, t time.Time) *hold {
	first := openFor(all, kinds, t)
	if first == nil {
		return nil
	}
	for at, w := t, first; at.Sub(t) < longestHold; {
		if at = w.end(at); at.IsZero() {
			break
		}
		if w = openFor(all, kinds, at); w == nil {
			return &hold{window: first, left: at.Sub(t), until: at.In(first.loc)}
		}
	}
	return &hold{window: first}
}

func openFor(all []window, kinds state.KindSet, t time.Time) *window {
	for i := range all {
		if w := &all[i]; w.Kinds&kinds != 0 && w.open(t) {
			return w
		}
	}
	return nil
}

// longer is the hold that lasts longer, nil for two that are none.
func longer(a, b *hold) *hold {
	switch {
	case a == nil:
		return b
	case b == nil || a.left == 0 || b.left != 0 && b.left <= a.left:
		return a
	}
	return b
}

// String says until when, for people.
func (h *hold) String() string {
	w := h.window
	switch {
	case w.loc == nil && w.Zone == "":
		return "waits: this build cannot read the setting quiet-windows; run a newer one, set the windows anew, " +
			"or submit it as urgent"
	case w.loc == nil:
		return fmt.Sprintf("waits: this node knows no time zone %s, so quiet window %s never ends; install it, "+
			"name another, or submit it as urgent", w.Zone, w.Hours())
	case h.left == 0:
		return fmt.Sprintf("waits: quiet window %s %s and those after it have no end; change quiet-windows, "+
			"or submit it as urgent", w.Hours(), w.Zone)
	}
	form := "15:04"
	if h.left > 20*time.Hour {
		form = "Mon 2 Jan 15:04"
	}
	return fmt.Sprintf("waits until %s %s (in %s): quiet window %s",
		h.until.Format(form), w.Zone, roundly(h.left), w.Hours())
}

// roundly is a duration to the minute: "3h12m", "45m"; below one to the second.
func roundly(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	d = d.Round(time.Minute)
	if hours := d / time.Hour; hours > 0 {
		return fmt.Sprintf("%dh%02dm", hours, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

// quiet is what windows hold back at one moment. It belongs to one goroutine.
type quiet struct {
	all  []window
	cell time.Time // the cell's time
	wall time.Time // this machine's

	asked [quietGroups]bool // whether of holds is known
	holds [quietGroups]*hold
}

// Operations that are in the same windows. A decommission's move is in those of two kinds.
const (
	quietRepair = iota
	quietMove
	quietDecommission
	quietDecommissionMove
	quietGroups
)

var quietKinds = [quietGroups]state.KindSet{
	state.Kinds(policies.KindRepair), state.Kinds(policies.KindMove), state.Kinds(policies.KindDecommission),
	state.Kinds(policies.KindMove, policies.KindDecommission),
}

// on is what keeps o from starting now, nil for nothing. A repair at the last copy is not kept: what could be lost
// while it waits is worse than a busy hour.
func (q *quiet) on(v *state.View, o *state.Op) *hold {
	if len(q.all) == 0 || o.Urgent {
		return nil
	}
	var h *hold
	switch {
	case o.Kind == policies.KindDecommission:
		h = q.of(quietDecommission)
	case o.Kind == policies.KindMove && o.Parent != 0:
		h = q.of(quietDecommissionMove)
	case o.Kind == policies.KindMove:
		h = q.of(quietMove)
	case o.Kind == policies.KindRepair:
		h = q.of(quietRepair)
		if e := v.Extent(o.Extent); h != nil && e != nil && v.Live(e) <= 1 {
			return nil
		}
	}
	return h
}

// of is by the cell's time and by this machine's clock: the cell's is behind after it was stopped for long, a clock may
// be set wrong, and both do no harm by being asked. A window has ended when it has by both.
func (q *quiet) of(group int) *hold {
	if !q.asked[group] {
		kinds := quietKinds[group]
		h := holding(q.all, kinds, q.cell)
		if q.wall.Sub(q.cell).Abs() > time.Second {
			h = longer(h, holding(q.all, kinds, q.wall))
		}
		q.holds[group], q.asked[group] = h, true
	}
	return q.holds[group]
}
