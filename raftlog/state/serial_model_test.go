package state_test

import (
	"pgregory.net/rapid"

	"github.com/datanode/datanode/raftlog/state"
)

// oneByOne is about kinds of which one runs at a time.
func (m *model) oneByOne() state.Command {
	switch rapid.IntRange(0, 4).Draw(m.T, "serial") {
	case 0:
		kinds := rapid.SampledFrom([]string{"auto", "none", "decommission,move", "repair", "delete", "x"}).Draw(m.T, "kinds")
		return &state.Set{Key: "serial", Value: kinds}
	case 1:
		windows := rapid.SampledFrom([]string{"none", "mon 00:00-24:00 UTC move", "mon 00:00-24:00 Middle/Earth move",
			"x"}).Draw(m.T, "windows")
		return &state.Set{Key: state.KeyQuietWindows, Value: windows}
	}
	c := &state.Reorder{Op: m.opIn(state.OpQueued)}
	if rapid.Bool().Draw(m.T, "before another") {
		c.Before = m.opIn(state.OpQueued)
	}
	return c
}

// alone checks what an entry has started: of a serial kind nothing beside another, once all builds keep to that.
func (m *model) alone(c state.Command, before state.Level) {
	start, ok := c.(*state.Start)
	if !ok || before < state.LevelNamed {
		return
	}
	started := m.cell.State.Op(start.Op)
	if !m.cell.State.Settings.SerialKinds().Has(started.Kind) || started.State != state.OpRunning {
		return
	}
	m.cell.State.Running(func(o *state.Op) bool {
		if o.Kind == started.Kind && o.ID != started.ID {
			m.Fatalf("%s has started beside %s", started, o)
		}
		return true
	})
}
