package schedule

import (
	"fmt"

	"github.com/datanode/datanode/raftlog/state"
)

// maxLine bounds how far the queue is looked at to say how many come before an operation.
const maxLine = 4096

// behind says after which operations of its kind o comes.
func (l *Look) behind(o, first *state.Op) string {
	others := ""
	switch n := l.ahead(o); {
	case n == 1:
		others = " and the one queued before it"
	case n > 1:
		others = fmt.Sprintf(" and the %d queued before it", n)
	}
	return fmt.Sprintf("waits for %s %s%s%s: of %ss one runs at a time "+
		"(serial)", first.Kind, first.ID, about(first), others, o.Kind)
}

// about is what an operation is about: " of n2", " of extent 7".
func about(o *state.Op) string {
	if o.Extent != 0 {
		return fmt.Sprintf(" of extent %d", o.Extent)
	}
	return " of " + string(o.Node)
}

// ahead is how many queued operations of o's kind come before it, 0 too when that would take long to tell.
func (l *Look) ahead(o *state.Op) int {
	if l.line == nil {
		l.line = map[state.OpID]int{}
		looked, counts := 0, [len(l.alone)]int{}
		l.inOrder(nil, func(other *state.Op, _ bool) bool {
			if _, seen := l.line[other.ID]; !seen && l.serial.Has(other.Kind) {
				l.line[other.ID] = counts[other.Kind]
				counts[other.Kind]++
			}
			looked++
			return looked < maxLine
		})
	}
	return l.line[o.ID]
}
