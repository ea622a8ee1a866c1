package state

import (
	"fmt"
	"slices"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// A delete with grace takes effect as any delete does, at one index and on all nodes: nothing of the extent can be
// read, appended to or copied for a repair any more. Only its files stay, where they are and under the same locators,
// until the grace ends. Until then an undelete makes the extent what it was.
//
// When the grace ends is a moment of the cell's time: an undelete that comes later is refused, whether or not the
// leader has said yet that it is over. The files go only once it has, which it cannot do too early: Apply compares the
// entry's time. Then the extent is a tombstone as any other, and there is no way back from that.
//
// While it is kept its replicas count as such: they are scrubbed, leave a node that is emptied, and keep a node that
// has the only one from being removed by force. None is repaired; what it lacks then is repaired after the undelete.
// Its bytes count under the quotas, so that nobody is above his for having taken something back.

const (
	// MaxGrace bounds how long a deleted extent is kept.
	MaxGrace = 30 * 24 * time.Hour
	// MaxGraceEnds bounds the extents of one EndGrace.
	MaxGraceEnds = 256

	// KeyDeleteGrace is the setting of how long a deleted extent is kept where the delete does not say.
	KeyDeleteGrace = "delete-grace"
)

// Undelete brings back an extent that was deleted with grace.
type Undelete struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent  ExtentID
	Birth   uint32 // of the extent that is meant; 0: of whichever has the number
	AskedBy Identity
}

// EndGrace lets the files of extents go whose grace is over. Those of which it is not, or that are not kept, stay.
type EndGrace struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extents []ExtentID
}

func (*Undelete) CommandType() CommandType { return TypeUndelete }
func (*EndGrace) CommandType() CommandType { return TypeGraceEnd }

// Kept reports whether an extent is deleted, and can be brought back.
func (e *Extent) Kept() bool { return e.State == ExtentDeleted && e.KeptUntil != 0 }

// Final reports whether its length is final and its files are to stay: it is sealed, or was when it was deleted with
// grace.
func (e *Extent) Final() bool { return e.State == ExtentSealed || e.Kept() }

// DeletedText says that an extent is deleted, and until when that can be taken back, or could.
func (e *Extent) DeletedText() string {
	return fmt.Sprintf("extent %d is deleted%s", e.ID, e.graceText())
}

func (e *Extent) graceText() string {
	switch {
	case e.Kept():
		return "; undelete brings it back until " + momentText(e.KeptUntil)
	case e.GraceEnded != 0:
		return "; its grace ended at " + momentText(e.GraceEnded)
	}
	return ""
}

// momentText has microseconds: what is refused at the end of a second is within it.
func momentText(at Micros) string { return at.Time().UTC().Format("2006-01-02T15:04:05.000000Z") }

// keeping is an element of the index of kept extents: those whose grace ends first come first.
type keeping struct {
	until  Micros
	extent ExtentID
}

func lessKeeping(a, b keeping) bool {
	if a.until != b.until {
		return a.until < b.until
	}
	return a.extent < b.extent
}

// indexKept brings the index of kept extents up to date.
func (s *State) indexKept(old, e *Extent) {
	if old.Kept() {
		s.kept.Delete(keeping{old.KeptUntil, old.ID})
		s.keptBytes -= old.keptBytes()
	}
	if e.Kept() {
		s.kept.Set(keeping{e.KeptUntil, e.ID})
		s.keptBytes += e.keptBytes()
	}
}

// keptBytes is what a kept extent takes, of all its replicas.
func (e *Extent) keptBytes() uint64 {
	return (e.Length - min(e.Punched, e.Length)) * uint64(len(e.Replicas))
}

// EachKept goes through the extents that are deleted and can be brought back, those whose grace ends first first.
func (v *View) EachKept(yield func(*Extent) bool) {
	v.kept.Scan(func(k keeping) bool { return yield(v.Extent(k.extent)) })
}

// GraceOver are extents whose grace is over at the view's time, MaxGraceEnds at most.
func (v *View) GraceOver() (ids []ExtentID) {
	v.EachKept(func(e *Extent) bool {
		if e.KeptUntil > v.NowMicros || len(ids) == MaxGraceEnds {
			return false
		}
		ids = append(ids, e.ID)
		return true
	})
	return ids
}

// Copyable reports whether an operation of a kind may copy it now. What is kept leaves a node that is emptied, and is
// not repaired.
func (e *Extent) Copyable(kind policies.Kind) bool {
	return e.State == ExtentSealed || e.Kept() && kind == policies.KindMove
}

// takes reports whether an extent that is deleted takes an operation: while it is kept, a delete with no grace, which
// ends that, and the moves of a decommission.
func (e *Extent) takes(c *Admit) bool {
	switch c.Kind {
	case policies.KindDelete:
		return e.Kept() && c.GraceMicros == 0
	case policies.KindMove:
		return e.Kept() && c.Parent != 0
	}
	return false
}

// CheckGrace refuses a delete whose grace means nothing.
func (e *Extent) CheckGrace(c *Admit) Result {
	switch {
	case c.GraceMicros < 0 || c.GraceMicros > micros(MaxGrace):
		return refused(wire.CodeInvalid, "a grace of %s is not from 0 to %s", c.GraceMicros.Duration(), MaxGrace)
	case c.GraceMicros != 0 && e.State != ExtentSealed:
		return refused(wire.CodePrecondition,
			"extent %d is %s, and only a sealed one is deleted with grace: what would come back of it has no length yet; "+
				"seal it first, or delete it with no grace", e.ID, e.State)
	}
	return Result{}
}

// keepExtent is a delete with grace taking effect. Nothing else is open on the extent.
func (s *State) keepExtent(at moment, o *Op) {
	e := s.Extent(o.Extent).clone()
	e.State, e.KeptUntil = ExtentDeleted, at.now+o.GraceMicros
	e.Gen++
	s.putExtent(e)
	s.endOp(at, o.ID, OpDone, 0, "its files are kept until "+momentText(e.KeptUntil)+"; undelete brings it back")
}

// CheckUndelete refuses an undelete of what cannot be brought back now.
func (v *View) CheckUndelete(c *Undelete) *wire.Error {
	e := v.Extent(c.Extent)
	switch {
	case e == nil && c.Extent != 0 && c.Extent < v.NextExtent:
		return refuse(wire.CodeNotFound, "extent %d was deleted, and every file of it is gone", c.Extent)
	case e == nil:
		return refuse(wire.CodeNotFound, "there is no extent %d", c.Extent)
	case c.Birth != 0 && c.Birth != e.Birth():
		return refuse(wire.CodeNotFound,
			"extent %d of this cell was born %s, not %s: it was stored in another history of this cell",
			e.ID, wire.BirthText(e.Birth()), wire.BirthText(c.Birth))
	case e.State != ExtentDeleted:
		return refuse(wire.CodePrecondition, "extent %d is %s, not deleted", e.ID, e.State)
	case !e.Kept() && e.GraceEnded != 0:
		return refuse(wire.CodePrecondition, "extent %d cannot be brought back: its grace ended at %s", e.ID,
			momentText(e.GraceEnded))
	case !e.Kept():
		return refuse(wire.CodePrecondition, "extent %d cannot be brought back: it was deleted with no grace", e.ID)
	case v.NowMicros >= e.KeptUntil:
		return refuse(wire.CodePrecondition, "extent %d cannot be brought back: its grace ended at %s", e.ID,
			momentText(e.KeptUntil))
	}
	for _, id := range e.Ops {
		if v.Op(id).Kind == policies.KindDelete {
			return refuse(wire.CodeConflict, "extent %d is to be deleted for good by operation %s; cancel that first", e.ID, id)
		}
	}
	return nil
}

// undelete makes an extent what it was.
func (s *State) undelete(c *Undelete) Result {
	if err := s.CheckUndelete(c); err != nil {
		return Result{Extent: c.Extent, Err: err}
	}
	e := s.Extent(c.Extent).clone()
	e.State, e.KeptUntil = ExtentSealed, 0
	e.Gen++
	s.putExtent(e)
	return Result{Extent: e.ID}
}

// endGrace makes tombstones of extents whose grace is over.
func (s *State) endGrace(at moment, c *EndGrace) Result {
	if len(c.Extents) > MaxGraceEnds {
		return refused(wire.CodeInvalid, "the grace of %d extents at once; at most %d", len(c.Extents), MaxGraceEnds)
	}
	ended := 0
	for _, id := range c.Extents {
		e := s.Extent(id)
		if e == nil || !e.Kept() || at.now < e.KeptUntil {
			continue
		}
		for _, op := range slices.Clone(e.Ops) {
			if s.Op(op).Kind != policies.KindDelete { // that one goes on, and finds a tombstone
				s.endOp(at, op, OpCancelled, 0, "the grace of the extent is over")
			}
		}
		s.buryExtent(at, id)
		ended++
	}
	if ended == 0 {
		return stale("of none of the %d extents the grace is over", len(c.Extents))
	}
	return Result{}
}

// deleteGrace is the setting of how long a deleted extent is kept where the delete does not say.
func deleteGrace() setting {
	return setting{
		key:  KeyDeleteGrace,
		help: "how long rm keeps the files of an extent for undelete where it does not say; 0: not at all",
		get:  func(s *Settings) string { return s.DeleteGraceMicros.Duration().String() },
		set: func(s *Settings, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil || d < 0 || d != 0 && d < time.Second || d > MaxGrace {
				return fmt.Errorf("%s must be 0, or a duration from 1s to 720h, such as 24h, not %q", KeyDeleteGrace, v)
			}
			s.DeleteGraceMicros = micros(d)
			return nil
		},
	}
}
