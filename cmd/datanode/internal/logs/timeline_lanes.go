package logs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/datanode/datanode/raftlog/state"
)

// lane is a part of the picture: of an extent, or of a node.
type lane struct {
	name string
	rows int
	bars []bar
}

// bar is an operation, or a part of it, in a row of its lane.
type bar struct {
	op       *timedOp
	row      int
	from, to int64
	parts    []part
}

// part is a time in which an operation was in one state.
type part struct {
	state    string // "queued", "waiting", "running"
	from, to int64
}

// parts are those of an operation up to now. What is queued waits while an operation that it met has not ended.
func (t *Timeline) parts(o *timedOp, ended map[state.OpID]int64, now int64) []part {
	free := int64(0)
	for _, w := range o.waits {
		end, known := ended[w]
		switch {
		case known && end == 0:
			free = now
		case known:
			free = max(free, end)
		}
	}
	var out []part
	for _, s := range o.spans {
		to := s.to
		if to == 0 {
			to = max(now, s.from)
		}
		switch {
		case s.running:
			out = append(out, part{"running", s.from, to})
			continue
		case free > s.from:
			out = append(out, part{"waiting", s.from, min(free, to)})
		}
		if from := max(s.from, min(free, to)); from < to || len(out) == 0 {
			out = append(out, part{"queued", from, to})
		}
	}
	return out
}

// lanes sorts the operations into lanes: of extents, or of the nodes that carry them out.
func (t *Timeline) lanes(byNode bool, a *axis, now int64) []lane {
	ended := make(map[state.OpID]int64)
	for _, o := range t.ops {
		ended[o.id] = o.end
	}
	found := make(map[string]*lane)
	at := func(name string) *lane {
		if found[name] == nil {
			found[name] = &lane{name: name}
		}
		return found[name]
	}
	for _, o := range t.ops {
		parts := t.parts(o, ended, now)
		whole := bar{op: o, from: o.from(), to: parts[len(parts)-1].to, parts: parts}
		if !byNode {
			l := at(o.lane())
			l.bars = append(l.bars, whole)
			continue
		}
		t.nodeBars(o, whole, at)
	}
	all := make([]lane, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		l := found[name]
		l.pack(a)
		all = append(all, *l)
	}
	if byNode {
		return all
	}
	first := func(l lane) int64 {
		return slices.MinFunc(l.bars, func(a, b bar) int { return cmp.Compare(a.from, b.from) }).from
	}
	slices.SortStableFunc(all, func(a, b lane) int { return cmp.Compare(first(a), first(b)) })
	return shared(all, a)
}

const (
	mostLanes = 150 // of which each has a place of its own
	laneSpace = 6   // pixels from one to the next in the same place
)

// shared puts lanes that follow each other into the same place, where there are too many to be seen together.
func shared(all []lane, a *axis) []lane {
	if len(all) <= mostLanes {
		return all
	}
	var out []lane
	var ends []float64
	for _, l := range all {
		from, to := a.left+a.width, 0.0
		for _, b := range l.bars {
			x := a.of(b.from)
			from, to = min(from, x), max(to, a.of(b.to), x+leastBar)
		}
		at := -1
		for i := range out {
			if ends[i]+laneSpace <= from && out[i].rows == l.rows {
				at = i
				break
			}
		}
		if at < 0 {
			out, ends = append(out, l), append(ends, to)
			continue
		}
		out[at].bars, ends[at] = append(out[at].bars, l.bars...), to
		out[at].name += ", " + strings.TrimPrefix(l.name, "extent ")
	}
	return out
}

// nodeBars are an operation's attempts, each with its node, or, where it was never begun, its time in the queue.
func (t *Timeline) nodeBars(o *timedOp, whole bar, at func(string) *lane) {
	begun := false
	runs := 0
	for _, s := range o.spans {
		if !s.running {
			continue
		}
		begun = true
		for ; runs < len(whole.parts) && whole.parts[runs].state != "running"; runs++ {
		}
		p := whole.parts[runs]
		runs++
		l := at(orElse(s.node, "all nodes"))
		l.bars = append(l.bars, bar{op: o, from: p.from, to: p.to, parts: []part{p}})
	}
	if !begun {
		l := at("(not begun)")
		l.bars = append(l.bars, whole)
	}
}

// lane is that of an operation among extents.
func (o *timedOp) lane() string {
	switch {
	case o.extent != 0:
		return fmt.Sprintf("extent %d", o.extent)
	case o.node != "":
		return "node " + o.node
	}
	return "new extents"
}

// pack gives bars rows so that none covers another.
func (l *lane) pack(a *axis) {
	slices.SortStableFunc(l.bars, func(a, b bar) int { return cmp.Compare(a.from, b.from) })
	var ends []float64
	for i := range l.bars {
		b := &l.bars[i]
		x := a.of(b.from)
		row := slices.IndexFunc(ends, func(end float64) bool { return end <= x })
		if row < 0 {
			row = len(ends)
			ends = append(ends, 0)
		}
		ends[row] = max(a.of(b.to), x+leastBar) + 1
		b.row = row
	}
	l.rows = len(ends)
}
