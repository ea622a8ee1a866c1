package schedule

import (
	"fmt"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Creates come before almost everything else, in the order in which they were admitted. So that nobody waits behind
// ten thousand of another's, those that one caller asks for take at most half of max-running, and those that callers
// ask for three quarters: puts make extents, too, which the nodes ask for.
//
// In plaintext all callers are one.

// shares counts the running creates that callers have asked for.
type shares struct {
	byCaller map[state.Identity]int
	all      int
}

func (s *shares) count(o *state.Op) {
	if o.Kind != policies.KindCreate || o.Origin == policies.OriginCell {
		return
	}
	if s.byCaller == nil {
		s.byCaller = map[state.Identity]int{}
	}
	s.byCaller[o.AskedBy]++
	s.all++
}

// full says why a create must wait for others to end, "" when it need not.
func (s *shares) full(o *state.Op, maxRunning int) string {
	if o.Kind != policies.KindCreate || o.Origin == policies.OriginCell {
		return ""
	}
	return s.fullOf(o.AskedBy, maxRunning)
}

// fullOf is full for the creates that a caller asks for.
func (s *shares) fullOf(who state.Identity, maxRunning int) string {
	if each := (maxRunning + 1) / 2; s.byCaller[who] >= each {
		return fmt.Sprintf("%d creates of its caller are running, half of max-running", each)
	}
	if all := (3*maxRunning + 3) / 4; s.all >= all {
		return fmt.Sprintf("%d creates of callers are running, three quarters of max-running", all)
	}
	return ""
}
