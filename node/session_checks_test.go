package node

import (
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A request in the session of another class of work is refused, whatever its operation, and counted. Nothing is done
// for it, and the connection serves on.
func TestSessionOfAnotherClass(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	extent := c.sealed(pattern(1, 1000)).Extent
	n, conn := c.nodes["n1"], c.raw("n1")
	want := sessionTally{}
	for op := wire.OpType(1); op < 100; op++ {
		for s := wire.SessionClient; s.Valid() && op.Known(); s++ {
			if op.CheckSession(s) == nil {
				continue
			}
			var body any
			switch op { // these two would do something
			case wire.OpSubmit:
				body = &wire.SubmitRequest{Submit: []wire.Submission{{Kind: "delete", Extent: extent}}}
			case wire.OpSetting:
				body = &wire.SettingRequest{Key: "replicas", Value: "1"}
			}
			_, err := conn.Call(testContext(t), mux.Request{Op: op, Session: s, Body: body})
			if wire.CodeOf(err) != wire.CodeProtocol || wire.OutcomeOf(err) != wire.NotDone ||
				!strings.Contains(err.Error(), "send it in "+op.Sessions()[0].String()) {
				t.Errorf("%s in %s: %v", op, s, err)
			}
			want[s]++
		}
	}
	if got := n.sessionTally(); got != want {
		t.Errorf("counted %v refused calls by session, want %v", got, want)
	}
	call[wire.Status](t, conn, wire.OpStatus, nil)
	view := n.log.View()
	if e := view.Extent(state.ExtentID(extent)); e == nil || e.State != state.ExtentSealed || view.Settings.Replicas == 1 {
		t.Errorf("something was done for a call that was refused: %v, %d replicas of an extent", e, view.Settings.Replicas)
	}
}

type sessionTally [wire.SessionControl + 1]uint64

func (n *Node) sessionTally() (out sessionTally) {
	for s := range out {
		out[s] = n.sessions.refused[s].Load()
	}
	return out
}

// The session of deletes takes submits and proposals that are about nothing else.
func TestSessionOfDeletes(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	one, other := c.sealed(pattern(1, 1000)).Extent, c.sealed(pattern(2, 1000)).Extent
	leader := c.leader()
	n := c.nodes[leader]
	in := func(conn *mux.Conn, op wire.OpType, body any) (mux.Reply, error) {
		return conn.Call(testContext(t), mux.Request{Op: op, Session: wire.SessionDelete, Body: body})
	}
	mixed := &wire.SubmitRequest{Submit: []wire.Submission{{Kind: "delete", Extent: one}, {Kind: "repair", Extent: other}}}
	if _, err := in(c.raw(leader), wire.OpSubmit, mixed); wire.CodeOf(err) != wire.CodeProtocol {
		t.Errorf("a delete and a repair in the session of deletes: %v", err)
	}
	var follower string
	for id := range c.nodes {
		if id != leader {
			follower = id
		}
	}
	peer := c.dialAs(follower, leader)
	gone := &state.Gone{Extent: state.ExtentID(one), Node: state.NodeID(follower)}
	finish, err := raftlog.AppendCommands(nil, []state.Command{gone, &state.Finish{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in(peer, wire.OpPropose, &wire.ProposeRequest{Commands: finish}); wire.CodeOf(err) != wire.CodeProtocol {
		t.Errorf("a finish in the session of deletes: %v", err)
	}
	if got := n.sessionTally()[wire.SessionDelete]; got != 2 {
		t.Errorf("counted %d refused calls, want 2", got)
	}
	if e := n.log.View().Extent(state.ExtentID(one)); e == nil || e.State != state.ExtentSealed {
		t.Errorf("the extent is %v, although both were refused", e)
	}

	both := []wire.Submission{{Kind: "delete", Extent: one}, {Kind: "delete", Extent: other}}
	deletes := &wire.SubmitRequest{Submit: both}
	reply, err := in(c.raw(leader), wire.OpSubmit, deletes)
	var submitted wire.SubmitReply
	if err == nil {
		err = reply.Decode(&submitted)
	}
	if err != nil || len(submitted.Results) != 2 || submitted.Results[0].Code != 0 || submitted.Results[1].Code != 0 {
		t.Fatalf("deletes in their session: %+v, %v", submitted, err)
	}
	c.until("both are deleted, and gone", func(n *Node) bool {
		view := n.log.View()
		return view.Extent(state.ExtentID(one)) == nil && view.Extent(state.ExtentID(other)) == nil
	})
}
