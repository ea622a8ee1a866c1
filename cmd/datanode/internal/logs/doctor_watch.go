package logs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// place is where in a log something is.
type place struct {
	index  uint64
	micros int64
}

// shownEntries bounds the entries that a finding names: the first one and the newest.
const shownEntries = 6

// repeat is something that may happen again.
type repeat struct {
	count       int
	first, last place
	entries     []uint64
	sample      string // the newest, in full
}

func (r *repeat) note(at place, sample string) {
	if r.count == 0 {
		r.first = at
	}
	r.count++
	r.last, r.sample = at, sample
	if n := len(r.entries); n > 0 && r.entries[n-1] == at.index {
		return
	}
	if len(r.entries) == shownEntries {
		r.entries = slices.Delete(r.entries, 1, 2)
	}
	r.entries = append(r.entries, at.index)
}

func (r *repeat) finding(kind, what, do string) Finding {
	return Finding{Kind: kind, What: what, Since: r.first.micros, Last: r.last.micros, Count: r.count, Entries: r.entries,
		Do: do}
}

// repeats counts what is the same but for its numbers.
type repeats struct {
	by   map[string]*repeat
	rest repeat // what came when there were mostRepeats of them
}

// mostRepeats bounds what is told apart: texts may come from anybody.
const mostRepeats = 1000

func newRepeats() *repeats { return &repeats{by: make(map[string]*repeat)} }

func (r *repeats) note(text string, at place) { r.noteAs(withoutNumbers(text), text, at) }

func (r *repeats) noteAs(key, text string, at place) {
	one := r.by[key]
	switch {
	case one == nil && len(r.by) == mostRepeats:
		one = &r.rest
	case one == nil:
		one = new(repeat)
		r.by[key] = one
	}
	one.note(at, text)
}

// often are those that came so many times at least, the most frequent first.
func (r *repeats) often(times int) []*repeat {
	var out []*repeat
	for _, key := range slices.Sorted(maps.Keys(r.by)) {
		if r.by[key].count >= times {
			out = append(out, r.by[key])
		}
	}
	slices.SortStableFunc(out, func(a, b *repeat) int { return cmp.Compare(b.count, a.count) })
	if r.rest.count > 0 {
		r.rest.sample = "of other sorts, the last: " + r.rest.sample
		out = append(out, &r.rest)
	}
	return out
}

// withoutNumbers is a text with a # in place of each number, so that "extent 1" and "extent 12" are the same. What
// follows a letter, as in the name of a node, stays.
func withoutNumbers(text string) string {
	var b strings.Builder
	before := ' '
	for _, r := range text {
		digit := r >= '0' && r <= '9'
		word := before >= 'a' && before <= 'z' || before >= 'A' && before <= 'Z' || before >= '0' && before <= '9'
		switch {
		case digit && before == '#':
			continue
		case digit && !word:
			r = '#'
		}
		b.WriteRune(r)
		before = r
	}
	return b.String()
}

const (
	manyLeaders   = 4 // within leadersWithin
	leadersWithin = 10 * time.Minute
)

// leaders watches the terms. Each leader begins one.
type leaders struct {
	term    uint64
	changes []place // of the last leadersWithin
	lost    int     // elections in all that nobody won
	worst   repeat  // the time with the most changes
}

func (l *leaders) take(term uint64, at place) {
	before := l.term
	l.term = max(l.term, term)
	if before == 0 || term <= before {
		return
	}
	l.lost += int(min(term-before-1, 1<<20))
	old := func(p place) bool { return at.micros-p.micros > leadersWithin.Microseconds() }
	l.changes = append(slices.DeleteFunc(l.changes, old), at)
	if n := len(l.changes); n > 1<<10 {
		l.changes = l.changes[n-1<<10:]
	}
	if len(l.changes) > l.worst.count {
		l.worst = repeat{}
		for _, c := range l.changes {
			l.worst.note(c, "")
		}
	}
}

func (l *leaders) findings() []Finding {
	if l.worst.count < manyLeaders {
		return nil
	}
	text := fmt.Sprintf("%d leaders began within %s", l.worst.count, lengthText(l.worst.last.micros-l.worst.first.micros))
	if l.lost > 0 {
		text += fmt.Sprintf("; %d elections in all had no winner", l.lost)
	}
	return []Finding{l.worst.finding(FoundLeaders, text, "look at the nodes' own logs at that time for disks that hang, "+
		"connections that break and processes that were killed; health shows the nodes as they are")}
}

// clockStep is how far the leader's clock must have moved against the cell's time.
const clockStep = 5 * time.Second

// clocks watches the leaders' clocks against the cell's time, which goes on evenly when they are set.
type clocks struct {
	term       uint64
	cell, wall int64 // of the last entry that has both
	latest     int64 // the cell's time
	steps      repeat
}

func (c *clocks) take(e Entry) {
	cell, wall := e.micros(), e.appended()
	if e.kind() != "commands" { // of the engine: the leader's clock only
		if back := c.latest - cell; c.latest > 0 && cell > 0 && back > clockStep.Microseconds() {
			c.steps.note(place{e.Index(), cell}, fmt.Sprintf("the clock of the leader of term %d was %s behind the cell's time",
				e.term(), lengthText(back)))
		}
		return
	}
	c.latest = max(c.latest, cell)
	if cell <= 0 || wall <= 0 {
		return
	}
	if c.wall != 0 {
		c.compare(e, cell, wall)
	}
	c.term, c.cell, c.wall = e.term(), cell, wall
}

// compare notes a clock that has moved more than time has gone by, as far as the cell's time does not follow it.
func (c *clocks) compare(e Entry, cell, wall int64) {
	const follows = 10 // a tenth of the time gone by
	gone := cell - c.cell
	moved := wall - c.wall - gone
	catchingUp := moved < 0 && c.wall-c.cell > time.Second.Microseconds() && wall >= c.wall
	if catchingUp || max(moved, -moved) < clockStep.Microseconds()+gone/follows {
		return
	}
	how := "forward"
	if moved < 0 {
		moved, how = -moved, "back"
	}
	text := fmt.Sprintf("the leader's clock was set %s by %s", how, lengthText(moved))
	if e.term() != c.term {
		text = fmt.Sprintf("the clock of the leader of term %d is %s %s of that of the leader of term %d", e.term(),
			lengthText(moved), map[string]string{"forward": "ahead", "back": "behind"}[how], c.term)
	}
	c.steps.note(place{e.Index(), cell}, text)
}

func (c *clocks) findings() []Finding {
	if c.steps.count == 0 {
		return nil
	}
	text := c.steps.sample
	if c.steps.count > 1 {
		text = "a clock was not where it should be; the last time " + text
	}
	return []Finding{c.steps.finding(FoundClock, text,
		"see that each node's machine keeps its time by NTP; the cell's own time went on evenly")}
}

const (
	growthParts   = 8       // of the range, by index
	growthEntries = 32      // so many there must be in the first part and in the last
	growthTimes   = 2       // so many times as large they are in the last
	growthBytes   = 512     // and so large at least
	hugeEntry     = 1 << 20 // bytes
)

// growth watches the bytes of a command, by type. Of entries with several types it cannot tell whose they are.
type growth struct {
	first, last uint64
	by          map[string]*[growthParts]grown // types are few
	huge        repeat
}

type grown struct {
	commands, bytes int
	at              place // of the last
}

func newGrowth(first, last uint64) *growth {
	return &growth{first: first, last: last, by: make(map[string]*[growthParts]grown)}
}

func (g *growth) take(one *step) {
	at := place{one.Index(), one.micros()}
	if size := one.bytes(); size >= hugeEntry {
		g.huge.note(at, fmt.Sprintf("%d bytes with %d commands", size, len(one.commands)))
	}
	kind := ""
	for i, c := range one.commands {
		if c == nil || i > 0 && c.CommandType().String() != kind {
			return
		}
		kind = c.CommandType().String()
	}
	if kind == "" {
		return
	}
	parts := g.by[kind]
	if parts == nil {
		parts = new([growthParts]grown)
		g.by[kind] = parts
	}
	part := min((at.index-g.first)*growthParts/max(g.last-g.first+1, 1), growthParts-1)
	p := &parts[part]
	p.commands, p.bytes, p.at = p.commands+len(one.commands), p.bytes+one.bytes(), at
}

func (g *growth) findings() []Finding {
	var out []Finding
	for _, kind := range slices.Sorted(maps.Keys(g.by)) {
		from, to := g.by[kind][0], g.by[kind][growthParts-1]
		if from.commands < growthEntries || to.commands < growthEntries {
			continue
		}
		was, is := from.bytes/from.commands, to.bytes/to.commands
		if is >= growthBytes && is >= was*growthTimes {
			out = append(out, Finding{Kind: FoundGrowth, Count: to.commands, Since: from.at.micros, Last: to.at.micros,
				What: fmt.Sprintf("a command of type %s had %d bytes at the beginning of these entries, and %d at the end",
					kind, was, is), Entries: []uint64{from.at.index, to.at.index},
				Do: "compare the two entries with log show; decisions grow with the conflicts that they list"})
		}
	}
	if g.huge.count > 0 {
		out = append(out, g.huge.finding(FoundGrowth, "entries have a megabyte or more; the last has "+g.huge.sample,
			"see with log show what they hold, and who asked for it"))
	}
	return out
}

// repeated tells what happened again and again.
func (d *diagnosing) repeated() {
	if d.newer.count > 0 {
		d.add(d.newer.finding(FoundNewer, "entries are of a newer build; the last: "+d.newer.sample,
			"read this log with the newest build that runs in the cell"))
	}
	for _, r := range d.overruled.often(1) {
		d.add(r.finding(FoundOverruled, r.sample, "log explain of an operation that these entries admit; the policy should "+
			"not answer what the table of conflicts does not allow: see docs/policies.md"))
	}
	for _, r := range d.fallback.often(1) {
		d.add(r.finding(FoundFallback, "the native default decided: "+r.sample,
			"policy ls shows the active policy and why it does not answer; policy rollback takes it back"))
	}
	for _, r := range d.refused.often(d.complaints.Repeats) {
		d.add(r.finding(FoundRefused, r.sample, "log show has each, with who asked for it"))
	}
	for _, r := range d.failed.often(d.complaints.Repeats) {
		d.add(r.finding(FoundFailed, r.sample, "log show has the operation; log explain OP tells all of its attempts"))
	}
	for _, r := range d.falls.often(d.complaints.Repeats) {
		d.add(r.finding(FoundNode, r.sample+" went down again and again",
			"log explain "+r.sample+" tells when; look at its own log and at the connections to it (conns)"))
	}
	for _, all := range [][]Finding{d.leaders.findings(), d.clocks.findings(), d.growth.findings()} {
		d.out.Findings = append(d.out.Findings, all...)
	}
}
