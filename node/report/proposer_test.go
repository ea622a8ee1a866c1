package report

import (
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Nodes and clients send deletes, and what is confirmed of them, in their session, and all else elsewhere.
func TestProposalsHaveASession(t *testing.T) {
	gone, finish := &state.Gone{}, &state.Finish{}
	for _, p := range []struct {
		cmds []state.Command
		want wire.Session
	}{
		{[]state.Command{gone}, wire.SessionDelete},
		{[]state.Command{gone, gone}, wire.SessionDelete},
		{[]state.Command{finish}, wire.SessionControl},
		{[]state.Command{gone, finish}, wire.SessionControl},
		{nil, wire.SessionControl},
	} {
		if got := sessionFor(p.cmds); got != p.want {
			t.Errorf("proposal of %d commands goes in %s, want %s", len(p.cmds), got, p.want)
		}
	}
	name := policies.KindDelete.String()
	if !(&wire.SubmitRequest{Submit: []wire.Submission{{Kind: name}}}).OnlyDeletes() {
		t.Errorf("a submit of %q is not one of deletes", name)
	}
}
