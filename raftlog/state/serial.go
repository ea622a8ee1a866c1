package state

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

const (
	keySerial    = "serial"
	nothing      = "none"
	serialUnsaid = "auto" // takes it back to its default

	// serialSaid marks a set that a person has chosen, the empty one among them. Without it, which is what settings
	// have that are older than this one, the default holds.
	serialSaid KindSet = 1
)

var (
	serialDefault = Kinds(policies.KindDecommission)
	serialKinds   = Kinds(policies.KindRepair, policies.KindMove, policies.KindDecommission, policies.KindRecommission)
)

// SerialKinds are the kinds of which at most one operation runs in the cell.
func (s *Settings) SerialKinds() KindSet {
	if s.Serial == 0 {
		return serialDefault
	}
	return s.Serial &^ serialSaid
}

// serial is the setting of what runs one at a time.
func serial() setting {
	return setting{
		key: keySerial, help: "kinds of operations that run one at a time in the cell, such as decommission,move; none; " +
			"auto: decommission",
		get: func(s *Settings) string { return cmp.Or(s.SerialKinds().String(), nothing) },
		set: func(s *Settings, v string) error {
			switch strings.TrimSpace(v) {
			case serialUnsaid:
				s.Serial = 0
				return nil
			case nothing, "":
				s.Serial = serialSaid
				return nil
			}
			kinds, err := parseKinds(v, "none, or some", serialKinds)
			if err != nil {
				return fmt.Errorf("%s: %w", keySerial, err)
			}
			s.Serial = serialSaid | kinds
			return nil
		},
	}
}

// checkSerial refuses a second operation of a kind of which one runs at a time. Not in a log that has nothing of
// LevelNamed yet: there builds may have started two, and what they did is not undone by applying it again.
func (s *State) checkSerial(o *Op) Result {
	if s.Level < LevelNamed || !s.Settings.SerialKinds().Has(o.Kind) || s.KindLoad(o.Kind).Running == 0 {
		return Result{}
	}
	var runs *Op
	s.Running(func(other *Op) bool {
		if other.Kind == o.Kind {
			runs = other
		}
		return runs == nil
	})
	return stale("operation %s waits for %s: of %ss one runs at a time (%s)", o.ID, runs.ID, o.Kind, keySerial)
}

// Reorder puts a queued operation of a serial kind before another of its kind, or before all of them.
type Reorder struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op      OpID
	Before  OpID // 0: before all others
	AskedBy Identity
}

func (*Reorder) CommandType() CommandType { return TypeReorder }

// maxTurns bounds the operations whose order a person has chosen, of one kind, and so what a Reorder writes.
const maxTurns = 1024

// reorder gives turns to the operation and to all that come before it now. What has a turn comes before what has
// none, whatever a policy says of it; so the order that a person has seen is the one in which they start.
func (s *State) reorder(at moment, c *Reorder) Result {
	o, res := s.inTurn(c.Op)
	if res.Err != nil {
		return res
	}
	if c.Before != 0 {
		before, res := s.inTurn(c.Before)
		switch {
		case res.Err != nil:
			return res
		case c.Before == c.Op, before.Kind != o.Kind:
			return refused(wire.CodeInvalid,
				"operation %s is reordered among the other %ss that are queued, and %s is none of those", c.Op, o.Kind, c.Before)
		}
	}
	line, res := s.line(o, c.Before)
	if res.Err != nil {
		return res
	}
	for i, next := range line {
		turn := uint32(i + 1)
		if next.ID != o.ID && next.Turn == turn {
			continue
		}
		next = next.clone()
		next.Turn = turn
		if next.ID == o.ID {
			next.step(at, reorderNote(c))
		}
		s.putOp(next)
	}
	return Result{Op: c.Op, Extent: o.Extent}
}

func reorderNote(c *Reorder) string {
	note := "put first of those that are queued"
	if c.Before != 0 {
		note = "put before operation " + c.Before.String()
	}
	if c.AskedBy != "" {
		note += " by " + string(c.AskedBy)
	}
	return note
}

// inTurn is a queued operation of a kind whose operations wait for each other.
func (s *State) inTurn(id OpID) (*Op, Result) {
	o := s.Op(id)
	switch {
	case o == nil:
		return nil, refused(wire.CodeNotFound, "there is no operation %s", id)
	case !s.Settings.SerialKinds().Has(o.Kind):
		return nil, refused(wire.CodePrecondition,
			"operation %s is a %s, and those do not run one at a time; see the setting %s", id, o.Kind, keySerial)
	case o.State != OpQueued:
		return nil, refused(wire.CodePrecondition, "operation %s is %s; only queued ones can be reordered", id, o.State)
	}
	return o, Result{}
}

// line is the new order, as far as it is chosen: o before the operation given, or first; with all that come before it,
// and all that had a turn.
func (s *State) line(o *Op, before OpID) (line []*Op, res Result) {
	placed := before == 0
	if placed {
		line = append(line, o)
	}
	s.Queued(func(other *Op) bool {
		switch {
		case other.Kind != o.Kind:
			return true
		case placed && other.Turn == 0:
			return false
		case other.ID == before:
			line, placed = append(line, o), true
			if other.Turn == 0 {
				return false
			}
		case other.ID == o.ID:
			return true
		}
		line = append(line, other)
		return len(line) <= maxTurns
	})
	if len(line) > maxTurns {
		return nil, refused(wire.CodeExhausted,
			"more than %d operations would have a place of their own; put %s first instead, or cancel some", maxTurns, o.ID)
	}
	return slices.Clip(line), Result{}
}
