package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// PausedText says that a node is paused, and until when: "n2 is paused until 2026-11-30T10:32:00Z (by admin/me)".
func PausedText(n *state.Node) string {
	text := fmt.Sprintf("%s is paused until %s", n.ID, n.Pause.Until.Time().UTC().Format(time.RFC3339))
	if n.Pause.By != "" {
		text += fmt.Sprintf(" (by %s)", n.Pause.By)
	}
	return text
}

// PausedNodes are those that are paused, by ID.
func PausedNodes(v *state.View) (all []*state.Node) {
	v.Nodes(func(n *state.Node) bool {
		if n.IsPaused() {
			all = append(all, n)
		}
		return true
	})
	return all
}

// butPaused adds to why nothing takes a replica that a node would if it were not paused.
func (l *Look) butPaused(why string) string {
	var all []string
	for _, n := range l.paused {
		if n.State == state.NodeUp && n.Mode == state.ModeActive {
			all = append(all, PausedText(n))
		}
	}
	if len(all) == 0 {
		return why
	}
	return why + "; " + strings.Join(all, ", ")
}

// comesBack says for which node a repair waits that the cell has asked for: one that is paused and has a whole replica,
// without which nothing would be wanting. "": for none.
func (l *Look) comesBack(o *state.Op) string {
	if len(l.paused) == 0 || o.Kind != policies.KindRepair || o.Origin != policies.OriginCell {
		return ""
	}
	e := l.v.Extent(o.Extent)
	if e == nil || l.v.Expected(e) < int(e.Want) {
		return ""
	}
	for _, n := range l.paused {
		if r, holds := e.Replica(n.ID); holds && r.State == state.ReplicaWhole && n.State != state.NodeUp {
			return PausedText(n) + ", and its replica is to come back"
		}
	}
	return ""
}

// isPaused reports whether a node is paused.
func (l *Look) isPaused(id state.NodeID) bool {
	return slices.ContainsFunc(l.paused, func(n *state.Node) bool { return n.ID == id })
}

// handOn seals the open extents that have a replica on a node that is paused: writing goes on in others before it is
// stopped.
func (s *search) handOn() {
	paused := PausedNodes(s.view)
	if len(paused) == 0 {
		return
	}
	s.view.Unsealed(func(e *state.Extent) bool {
		for _, n := range paused {
			if _, holds := e.Replica(n.ID); holds && e.State == state.ExtentOpen {
				s.seal(e, policies.OriginCell)
				break
			}
		}
		return !s.full()
	})
}

// StopWaits says what is still to be done before a node that is paused can be stopped without anybody noticing, ""
// when nothing is. leads says that it leads.
func StopWaits(v *state.View, n *state.Node, leads bool) string {
	var all []string
	if leads {
		all = append(all, "it leads")
	}
	open := 0
	v.Unsealed(func(e *state.Extent) bool {
		if _, holds := e.Replica(n.ID); holds {
			open++
		}
		return true
	})
	if open > 0 {
		all = append(all, fmt.Sprintf("%d open extents with a replica on it are still to be sealed", open))
	}
	return strings.Join(all, ", and ")
}
