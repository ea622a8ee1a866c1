package describe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Plan says in a sentence what an admit would do.
func Plan(view *state.View, a *state.Admit) string {
	var plan string
	switch a.Kind {
	case policies.KindDelete:
		e := view.Extent(a.Extent)
		size := "length not final yet"
		if e.Final() {
			size = fmt.Sprintf("%d bytes", e.Length)
		}
		plan = fmt.Sprintf("delete extent %d: %s, files on %s", e.ID, size, strings.Join(replicaNodes(e), ", "))
		if a.GraceMicros != 0 {
			plan += fmt.Sprintf(", which are kept for %s: undelete brings it back", a.GraceMicros.Duration())
		}
	case policies.KindDecommission:
		plan = fmt.Sprintf("decommission %s: move %d replicas to other nodes", a.Node, view.CountReplicas(a.Node))
		if view.Node(a.Node).Voter {
			plan += ", and its vote"
		}
		if view.Node(a.Node).State == state.NodeDown {
			plan += "; it is down: if it still is at the end, it is removed, and needs an empty --dir to come back"
		}
	case policies.KindCreate:
		plan = fmt.Sprintf("create an extent on %v", a.Replicas)
	case policies.KindRecommission:
		plan = fmt.Sprintf("recommission %s", a.Node)
	default:
		plan = fmt.Sprintf("%s extent %d", a.Kind, a.Extent)
	}
	for _, k := range a.Decision.Conflicts {
		plan += fmt.Sprintf("; %s %s %s (%s)", k.Final, k.WithKind, k.With, k.Reason)
	}
	return plan
}

func replicaNodes(e *state.Extent) []string {
	var ids []string
	for _, r := range e.Replicas {
		ids = append(ids, string(r.Node))
	}
	slices.Sort(ids)
	return ids
}
