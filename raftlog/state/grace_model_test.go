package state_test

import (
	"pgregory.net/rapid"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// keptAs is what an extent was when it was deleted with grace.
type keptAs struct {
	until state.Micros
	birth uint32
}

// graceOf is how long a delete keeps the files.
func (m *model) graceOf(kind policies.Kind) state.Micros {
	if kind != policies.KindDelete {
		return 0
	}
	return rapid.SampledFrom([]state.Micros{0, 1, 1e6, 1e9, 1e9, 1e12}).Draw(m.T, "grace")
}

// grace is a delete with grace, an undelete, or the end of some graces; most are about extents for which that is
// possible.
func (m *model) grace() state.Command {
	var sealed []state.ExtentID
	m.cell.State.Extents(0, func(e *state.Extent) bool {
		if e.State == state.ExtentSealed && len(e.Ops) == 0 {
			sealed = append(sealed, e.ID)
		}
		return true
	})
	if len(sealed) > 0 && rapid.IntRange(0, 2).Draw(m.T, "delete") == 0 {
		a := &state.Admit{
			Kind: policies.KindDelete, Origin: policies.OriginUser, Extent: rapid.SampledFrom(sealed).Draw(m.T, "sealed"),
			GraceMicros: m.graceOf(policies.KindDelete), Start: true,
		}
		m.cell.Decide(a, statetest.Overrides{})
		return a
	}
	var ids []state.ExtentID
	m.cell.State.EachKept(func(e *state.Extent) bool { ids = append(ids, e.ID); return true })
	one := func() state.ExtentID {
		if len(ids) == 0 || rapid.IntRange(0, 9).Draw(m.T, "any extent") == 0 {
			return m.extent()
		}
		return rapid.SampledFrom(ids).Draw(m.T, "kept")
	}
	if rapid.Bool().Draw(m.T, "undelete") {
		return &state.Undelete{Extent: one(), Birth: rapid.SampledFrom([]uint32{0, 0, 0, 1}).Draw(m.T, "birth")}
	}
	end := &state.EndGrace{}
	for range rapid.IntRange(0, 2).Draw(m.T, "ends") {
		end.Extents = append(end.Extents, one())
	}
	return end
}

// checkKept makes sure that what was kept after the last entry is kept on, or was brought back by an undelete that came
// in time, or has gone because its grace was over or a delete with no grace has started.
func (m *model) checkKept(cmds []state.Command, results []state.Result) {
	s := m.cell.State
	undeleted := map[state.ExtentID]bool{}
	for i, c := range cmds {
		if u, ok := c.(*state.Undelete); ok && results[i].Err == nil {
			undeleted[u.Extent] = true
		}
	}
	for id, was := range m.kept {
		e := s.Extent(id)
		switch {
		case e != nil && e.Birth() != was.birth:
			m.Fatalf("%s was kept with birth %d", e, was.birth)
		case e != nil && e.Kept() && !undeleted[id] && e.KeptUntil != was.until:
			m.Fatalf("%s was kept until %d", e, was.until)
		case e != nil && (e.Kept() || e.State == state.ExtentSealed):
			if e.State == state.ExtentSealed && (!undeleted[id] || s.NowMicros >= was.until) {
				m.Fatalf("%s came back at %d, and was kept until %d", e, s.NowMicros, was.until)
			}
		case s.NowMicros < was.until && !m.dropped(id):
			m.Fatalf("%v of extent %d is gone at %d, and was to be kept until %d", e, id, s.NowMicros, was.until)
		}
	}
	m.kept = map[state.ExtentID]keptAs{}
	s.EachKept(func(e *state.Extent) bool {
		m.kept[e.ID] = keptAs{e.KeptUntil, e.Birth()}
		if len(e.Replicas) == 0 || e.Whole() == 0 && !e.Damaged {
			m.Fatalf("%s is kept, and nowhere", e)
		}
		return true
	})
}

// dropped reports whether a delete with no grace has started in the last entry.
func (m *model) dropped(id state.ExtentID) bool {
	found := false
	m.cell.State.Ops(0, func(o *state.Op) bool {
		found = o.Kind == policies.KindDelete && o.Extent == id && o.GraceMicros == 0 &&
			o.Fence == state.Fence(m.cell.State.Applied)
		return !found
	})
	return found
}
