package fair

import (
	"context"

	"github.com/datanode/datanode/node/clock"
)

// Work is a class of work that callers take turns at. The values are labels of metrics.
type Work string

// The classes of work.
const (
	WorkLists    Work = "lists"    // looks at much of the state, or reads a page of the log
	WorkLog      Work = "log"      // reads the whole log
	WorkVerify   Work = "verify"   // of an extent, on all nodes; takes a turn at sums on each
	WorkSums     Work = "sums"     // reads a whole replica
	WorkSessions Work = "sessions" // opening one; each is an entry
	WorkTrials   Work = "trials"   // decides without proposing
)

// atOnce is how many of each class run at once on a node.
func atOnce() map[Work]int {
	return map[Work]int{WorkLists: 4, WorkLog: 1, WorkVerify: 4, WorkSums: 2, WorkSessions: 16, WorkTrials: 1}
}

// Classes are the turns at all classes of work of one node. The keys never change.
type Classes map[Work]*Turns

// NewClasses makes the turns of one node.
func NewClasses(c clock.Clock) Classes {
	all := Classes{}
	for w, n := range atOnce() {
		o := Options{Work: string(w), AtOnce: n, Pause: c.After}
		switch w {
		case WorkLists, WorkLog, WorkSums, WorkTrials: // the others wait for them, or for the log
			o.Pace = c
		}
		all[w] = NewTurns(o)
	}
	return all
}

// Take is Turns.Take at a class of work.
func (cs Classes) Take(ctx context.Context, w Work, sharer string) (done func(), err error) {
	return cs[w].Take(ctx, sharer)
}
