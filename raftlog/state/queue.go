package state

import (
	"cmp"
	"math"

	"github.com/datanode/datanode/policies"
	"github.com/tidwall/btree"
)

// Line is what the queued operations have in common that the same limits hold back: those of a kind, and of the creates
// that callers ask for those of one caller. Whoever goes through the queue passes over a whole line at once.
type Line struct {
	Kind   policies.Kind
	Caller bool     // asked for by a caller, not by the cell; of creates only
	Who    Identity // the caller, "" for all of them in plaintext
}

func (o *Op) line() Line {
	if o.Kind != policies.KindCreate || o.Origin == policies.OriginCell {
		return Line{Kind: o.Kind}
	}
	return Line{Kind: o.Kind, Caller: true, Who: o.AskedBy}
}

func compareLines(a, b Line) int {
	switch {
	case a.Kind != b.Kind:
		return cmp.Compare(a.Kind, b.Kind)
	case a.Caller != b.Caller:
		if b.Caller {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Who, b.Who)
}

// place is an element of the queue. It is sorted by line first, so that the queue is one tree, however many lines there
// are, and each line's first is found fast.
type place struct {
	line     Line
	turn     uint32 // 0: none
	priority int32
	op       OpID
	record   *Op // saves a lookup for each element that the scheduler looks at
}

func (o *Op) place() place { return place{o.line(), o.Turn, o.Decision.Priority, o.ID, o} }

func lessPlace(a, b place) bool {
	if c := compareLines(a.line, b.line); c != 0 {
		return c < 0
	}
	return comesBefore(a, b)
}

// comesBefore is the order of the policy: what has a turn first, then higher priorities, then older operations.
func comesBefore(a, b place) bool {
	if a.turn != b.turn {
		return a.turn-1 < b.turn-1 // 0 becomes the highest
	}
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.op < b.op
}

// lessWaiting sorts the lines of the queue by age: IDs order as operations were admitted.
func lessWaiting(a, b place) bool {
	if c := compareLines(a.line, b.line); c != 0 {
		return c < 0
	}
	return older(a, b)
}

func older(a, b place) bool { return a.op < b.op }

func pastLine(l Line) place { return place{line: l, priority: math.MinInt32, op: math.MaxUint64} }

// SinceMicros is since when an operation has been there: its first attempt waits from then on.
func (o *Op) SinceMicros() Micros {
	if len(o.Steps) == 0 {
		return 0
	}
	return o.Steps[0].Micros
}

// Queued goes through the queued operations, highest priority first.
func (v *View) Queued(yield func(*Op) bool) { v.QueuedIn(nil, yield) }

// QueuedIn is Queued of the lines that are open, of which it asks again before each operation: one that has closed is
// left, however long it is. Nil: all are.
func (v *View) QueuedIn(open func(Line) bool, yield func(*Op) bool) {
	merge(v.queue, comesBefore, open, yield)
}

// Waiting goes through the queued operations that have been there longest, the oldest first, of lines that are open;
// see QueuedIn.
func (v *View) Waiting(open func(Line) bool, yield func(*Op) bool) {
	merge(v.waiting, older, open, yield)
}

// head is where a line has got to.
type head struct {
	at btree.IterG[place]
}

func (h *head) place() place { return h.at.Item() }

// next goes on in the same line, and reports whether there is more of it.
func (h *head) next() bool {
	line := h.place().line
	return h.at.Next() && h.place().line == line
}

// merge goes through the lines of a tree as if they were one that is sorted by before. Its cost is that of finding the
// lines, and then the logarithm of how many they are for each operation.
func merge(tree *btree.BTreeG[place], before func(a, b place) bool, open func(Line) bool, yield func(*Op) bool) {
	var heads heads
	heads.before = before
	finder := tree.Iter()
	defer finder.Release()
	for ok := finder.First(); ok; {
		line := finder.Item().line
		if open == nil || open(line) {
			h := &head{at: tree.Iter()}
			defer h.at.Release()
			h.at.Seek(finder.Item())
			heads.push(h)
		}
		ok = finder.Seek(pastLine(line))
	}
	for len(heads.all) > 0 {
		first := heads.all[0]
		p := first.place()
		if open != nil && !open(p.line) {
			heads.drop()
			continue
		}
		if !yield(p.record) {
			return
		}
		if first.next() {
			heads.sink()
		} else {
			heads.drop()
		}
	}
}

// heads is a heap: all[0] comes before the others.
type heads struct {
	all    []*head
	before func(a, b place) bool
}

func (h *heads) less(i, j int) bool { return h.before(h.all[i].place(), h.all[j].place()) }

func (h *heads) push(one *head) {
	h.all = append(h.all, one)
	for i := len(h.all) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		h.all[i], h.all[(i-1)/2] = h.all[(i-1)/2], h.all[i]
	}
}

// drop takes the first away.
func (h *heads) drop() {
	last := len(h.all) - 1
	h.all[0] = h.all[last]
	h.all = h.all[:last]
	h.sink()
}

// sink brings the first to where it belongs.
func (h *heads) sink() {
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h.all) && h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.all[i], h.all[least] = h.all[least], h.all[i]
		i = least
	}
}
