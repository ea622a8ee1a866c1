package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// Whose vote goes to whom. Nodes are up from the moment on at which their line stands.
func TestVotesOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, lines, want string }{
		{"nobody is down", "join n4; clock 60s", "none, n4 could, 3"},
		{"one is down, and nobody could take its vote", "clock 60s; down n2; clock 60s", "none, none could, 3"},
		{"one is down", "join n4; clock 60s; down n2; clock 3s", "n2, n4 could, 3"},
		{"one is only started anew", "join n4; clock 60s; down n2; clock 2s", "none, n4 could, 3"},
		{"one is stopped for a while, as planned", "join n4; clock 60s; pause n2 for=1h; down n2; clock 60s",
			"none, n4 could, 3"},
		{"and then is not back", "join n4; clock 60s; pause n2 for=1h; down n2; clock 60s; resume n2", "n2, n4 could, 3"},
		{"the other comes and goes", "join n4; clock 60s; down n2; down n4; clock 60s; up n4; clock 5s", "none, n4 could, 3"},
		{"it stays", "join n4; clock 60s; down n2; down n4; clock 60s; up n4; clock 8s", "n2, n4 could, 3"},
		{"the one that is up longer", "join n4; clock 1s; join n5; clock 60s; down n2; down n4; up n4; clock 60s",
			"n2, n5 could, 3"},
		{"none that takes nothing", "join n4; room n4 free=0 total=9 refuses=full; clock 60s; down n2; clock 60s",
			"none, none could, 3"},
	} {
		cell := statetest.New()
		for _, line := range strings.Split("join n1 n2 n3 voter; "+c.lines, ";") {
			cell.Run(strings.TrimSpace(line))
		}
		v := schedule.VotesOf(schedule.AtTime(&cell.State.View, cell.Now), (*state.Node).Takes, 8*time.Second)
		name := func(n *state.Node) string {
			if n == nil {
				return "none"
			}
			return string(n.ID)
		}
		if got := fmt.Sprintf("%s, %s could, %d", name(v.Lost), name(v.Candidate), v.Count); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
