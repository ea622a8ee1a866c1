package state

import (
	"cmp"
	"fmt"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// Result is what one command came to. Every replica computes the same one; only the node that
// proposed the entry looks at it.
type Result struct {
	Op      OpID      // of an admit: the operation, or the one that it was merged into
	Extent  ExtentID  // of an admit
	Session SessionID // of OpenSession
	Merged  bool      // the operation became one with Op
	Started bool      // of an admit: the operation runs already, under the entry's index as its fence
	// Kind is that of the operation that an admit asked for; 0 for an answer from memory that does not have it.
	Kind policies.Kind
	// Misused says that Err is about the request's session: it is somebody else's, or its number is another request's.
	Misused bool
	// Stale says that Err only means that the decision was made under a state or policy that has
	// changed since. Decide again.
	Stale bool
	Err   *wire.Error // nil when the command was carried out
	// Refused are the ranges of a punch that were not deleted, in order.
	Refused []PunchRefusal
}

// moment is where in the log, and when, a command applies.
type moment struct {
	index Index
	place int
	now   Micros
}

func (m moment) op() OpID { return NewOpID(m.index, m.place) }

// MaxCommands bounds the commands of one entry: an operation ID has no room for more places.
const MaxCommands = 1 << placeBits

// Apply carries out the commands of one entry, in order, and says what each came to. micros is the
// leader's time; it is clamped so that the cell's time never goes back. index must be above every
// index applied before. Commands are read only; the same ones may be applied to several states.
func (s *State) Apply(index Index, micros Micros, commands []Command) []Result {
	if index <= s.Applied {
		panic(fmt.Sprintf("state: apply of entry %d after %d", index, s.Applied))
	}
	s.Applied = index
	s.NowMicros = max(s.NowMicros, micros)
	results := make([]Result, len(commands))
	for i, c := range commands {
		if i >= MaxCommands {
			results[i] = refused(wire.CodeInvalid, "an entry carries at most %d commands, not %d", MaxCommands, len(commands))
			continue
		}
		results[i] = s.apply(moment{index: index, place: i, now: s.NowMicros}, c)
		if results[i].Err == nil {
			s.Level = max(s.Level, levelOf(c))
		}
	}
	return results
}

// Skip records that an entry without commands, such as the group's own, has gone by.
func (s *State) Skip(index Index) { s.Applied = max(s.Applied, index) }

func (s *State) apply(at moment, c Command) Result {
	switch c := c.(type) {
	case *Genesis:
		return s.genesis(c)
	case *Admit:
		return s.admit(at, c)
	case *Start:
		return s.start(at, c)
	case *Finish:
		return s.finish(at, c)
	case *Cancel:
		return s.cancel(at, c)
	case *Reorder:
		return s.reorder(at, c)
	case *Gone:
		return s.gone(at, c)
	case *Suspect:
		return s.suspect(c)
	case *Rescore:
		return s.rescore(at, c)
	case *Join:
		return s.join(at, c)
	case *SetNodeState:
		return s.setNodeState(at, c)
	case *SetVoter:
		return s.setVoter(c)
	case *OpenSession:
		return s.openSession(at, c)
	case *Set:
		return s.set(c)
	case *LoadPolicy:
		return s.loadPolicy(c)
	case *ActivatePolicy:
		return s.activatePolicy(c)
	case *RollbackPolicy:
		return s.rollbackPolicy()
	case *Recovered:
		return s.recovered(at, c)
	case *RemoveNode:
		return s.removeNode(at, c)
	case *NodeRoom:
		return s.setNodeRoom(at, c)
	case *Proven:
		return s.proven(at, c)
	case *Punch:
		return s.punch(c)
	case *Pause:
		return s.pause(at, c)
	case *Undelete:
		return s.undelete(c)
	case *EndGrace:
		return s.endGrace(at, c)
	}
	return refused(wire.CodeInvalid, "this version has no command %T", c)
}

func refuse(code wire.Code, format string, args ...any) *wire.Error {
	return wire.Errorf(wire.OpPropose, code, format, args...)
}

func refused(code wire.Code, format string, args ...any) Result {
	return Result{Err: refuse(code, format, args...)}
}

// stale refuses a command because of what has changed since it was decided.
func stale(format string, args ...any) Result {
	return Result{Stale: true, Err: refuse(wire.CodeConflict, format, args...)}
}

func compare[T cmp.Ordered](a, b T) int { return cmp.Compare(a, b) }

func (s *State) genesis(c *Genesis) Result {
	if c.Cell == "" {
		return refused(wire.CodeInvalid, "a cell needs a name")
	}
	if s.Cell != "" {
		return refused(wire.CodePrecondition, "this log already belongs to cell %s", s.Cell)
	}
	s.Cell = c.Cell
	return Result{}
}

func (s *State) set(c *Set) Result {
	next, err := s.Settings.With(c.Key, c.Value)
	if err != nil {
		return refused(wire.CodeInvalid, "%s", err.Error())
	}
	if c.Key == KeyQuotas {
		if err := s.CheckQuotas(&next, func(*Quota) uint64 { return 0 }); err != nil {
			return Result{Err: err}
		}
	}
	if next.Budget() != s.Settings.Budget() {
		s.PolicyEpoch++ // what was decided within another budget is decided again
	}
	s.Settings = next
	return Result{}
}
