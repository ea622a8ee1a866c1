package state_test

import (
	"pgregory.net/rapid"

	"github.com/datanode/datanode/raftlog/state"
)

// deleted is a byte that a punch has deleted.
type deleted struct {
	extent state.ExtentID
	at     uint64
}

// dugBytes is how far the punches of the model go: some beyond the seals.
const dugBytes = 8

func (m *model) punch() state.Command {
	p := &state.Punch{}
	for range rapid.IntRange(0, 3).Draw(m.T, "ranges") {
		p.Ranges = append(p.Ranges, state.Range{
			Extent: m.extent(), Offset: rapid.Uint64Range(0, dugBytes-2).Draw(m.T, "offset"),
			Length: rapid.Uint64Range(0, 2).Draw(m.T, "length"),
		})
	}
	if len(m.opened) > 0 && rapid.Bool().Draw(m.T, "in session") {
		p.Request = state.Request{
			Session: rapid.SampledFrom(m.opened).Draw(m.T, "session"), Seq: rapid.Uint64Range(1, 4).Draw(m.T, "seq"),
			Sum: p.Sum(),
		}
		p.AskedBy = m.owners[p.Request.Session]
	}
	return p
}

// dug remembers what punches have deleted. What an earlier request of the same number had deleted is remembered.
func (m *model) dug(cmds []state.Command, results []state.Result) {
	for i, c := range cmds {
		p, ok := c.(*state.Punch)
		if !ok || results[i].Err != nil {
			continue
		}
		no := map[int]bool{}
		for _, r := range results[i].Refused {
			no[r.At] = true
		}
		for at, r := range p.Ranges {
			if no[at] {
				continue
			}
			for b := r.Offset; b < r.Offset+r.Length; b++ {
				m.punched[deleted{r.Extent, b}] = true
			}
		}
	}
}

// checkDug compares byte for byte what is deleted of extents that are not.
func (m *model) checkDug() {
	s := m.cell.State
	s.Extents(0, func(e *state.Extent) bool {
		if !e.Written() {
			return true
		}
		for b := uint64(0); b < dugBytes; b++ {
			if e.State == state.ExtentSealed && b >= e.Length {
				delete(m.punched, deleted{e.ID, b}) // it was never written, and may be if a longer replica is found
			}
			_, _, is := s.FirstHole(e.ID, b, 1)
			if want := m.punched[deleted{e.ID, b}]; is != want {
				m.Fatalf("byte %d of %s: deleted %t, want %t", b, e, is, want)
			}
		}
		return true
	})
}
