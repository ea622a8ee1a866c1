package replica

import (
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// voteOf makes a vote from a few words: "1000", "1000 floor=500 cut", "1000 unsound", "missing", "silent".
func voteOf(t *testing.T, words string) (v sealVote) {
	t.Helper()
	for _, w := range strings.Fields(words) {
		switch {
		case w == "cut":
			v.Cut = true
		case w == "unsound":
			v.Unsound = "it is damaged"
		case w == "missing":
			v.err = wire.Errorf(wire.OpReplicaFence, wire.CodeNotFound, "no file")
		case w == "silent":
			v.err = wire.Errorf(wire.OpReplicaFence, wire.CodeUnavailable, "nobody listens")
		case strings.HasPrefix(w, "floor="):
			_, err := fmt.Sscanf(w, "floor=%d", &v.Floor)
			if err != nil {
				t.Fatal(err)
			}
		default:
			if _, err := fmt.Sscanf(w, "%d", &v.Length); err != nil {
				t.Fatal(err)
			}
		}
	}
	return v
}

// How long a sealed extent is, from what its three replicas say. No vote may cut what another proves.
func TestBallot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		votes string // of n1, n2 and n3
		soft  string // the replica that is suspect, or on a node that is unproven
		want  string // length and who has it; else a part of the error
	}{
		{votes: "1000 | 1000 | 1000", want: "1000 [n1 n2 n3]"},
		{votes: "1000 | 1000 | 500", want: "1000 [n1 n2]"},
		{votes: "1000 | 500 | 500", want: "1000 [n1]"},                        // the rest was not acknowledged
		{votes: "500 cut | 1000 | 1000", want: "1000 [n2 n3]"},                // rot in the last record
		{votes: "500 cut | 600 cut | 600 cut", want: "600 [n2 n3]"},           // a power cut of all
		{votes: "500 cut | silent | silent", want: "no replica that"},         // it may have had more
		{votes: "500 cut | missing | missing", want: "500 [n1]"},              // there is nobody else to ask
		{votes: "500 | silent | silent", want: "500 [n1]"},                    // it has kept what it had
		{votes: "500 | silent | silent", soft: "n1", want: "no replica that"}, // nobody knows that
		{votes: "500 | 600 | silent", soft: "n2", want: "600 [n2]"},
		{votes: "500 cut | 400 | silent", soft: "n1", want: "500 [n1]"},
		{votes: "silent | silent | silent", want: "no replica has answered"},
		{votes: "1000 unsound floor=900 | 900 | 950", want: "950 [n3]"},
		{votes: "1000 unsound floor=900 | 800 cut | silent", want: "900 bytes are known"},
		{votes: "1000 unsound floor=900 | 800 | silent", want: "900 bytes are known"}, // cut behind our backs
		{votes: "1000 unsound floor=900 | 800 | 700", want: "0 []"},                   // damaged
		{votes: "0 unsound floor=900 | missing | missing", want: "0 []"},
		{votes: "1000 unsound | missing | missing", want: "0 []"},
		{votes: "0 | 0 | 0", want: "0 [n1 n2 n3]"},
		{votes: "missing | missing | missing", want: "0 []"},
		{votes: "missing | 800 floor=700 | 800 cut floor=700", want: "800 [n2 n3]"},
	} {
		e := &state.Extent{ID: 7}
		b := &ballot{e: e, firm: map[state.NodeID]bool{}, votes: map[state.NodeID]sealVote{}}
		for i, words := range strings.Split(c.votes, "|") {
			id := state.NodeID(fmt.Sprintf("n%d", i+1))
			e.Replicas = append(e.Replicas, state.Replica{Node: id, State: state.ReplicaWhole})
			b.firm[id] = string(id) != c.soft
			b.cast(id, voteOf(t, words))
		}
		length, ends, err := b.count()
		got := fmt.Sprintf("%d %v", length, ends)
		if err != nil {
			got = err.Error()
		}
		if (err != nil && !strings.Contains(got, c.want)) || (err == nil && got != c.want) {
			t.Errorf("%s (soft %q): %s, want %s", c.votes, c.soft, got, c.want)
		}
	}
}
