package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

// asNode is a connection to the leader with a node's certificate.
func (c *cell) asNode(o *office, id string) *mux.Conn {
	hello := wire.Hello{Cell: c.any().folder.Cell(), Node: id, Incarnation: 1}
	return c.rawAs(o.Source(pki.RoleNode, id), mux.Config{Hello: hello})
}

// followers are the nodes that do not lead.
func (c *cell) followers() (ids []string) {
	leader := c.leader()
	for _, id := range []string{"n1", "n2", "n3"} {
		if id != leader {
			ids = append(ids, id)
		}
	}
	return ids
}

// proposal is a report of commands.
func proposal(t *testing.T, cmds ...state.Command) *wire.ProposeRequest {
	t.Helper()
	body, err := raftlog.AppendCommands(nil, cmds)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.ProposeRequest{Commands: body}
}

// refused fails the test unless the leader denies a call of a node, and counts it. It asks anew when leadership has
// moved, as it does now and then on a busy machine.
func (c *cell) refused(what string, as func() *mux.Conn, req mux.Request) {
	c.t.Helper()
	req.Session = wire.SessionControl
	for {
		by := c.nodes[c.leader()]
		denied := func() uint64 { return by.transport.Denied().Counts()[req.Op.String()] }
		before := denied()
		_, err := as().Call(testContext(c.t), req)
		if wire.CodeOf(err) == wire.CodeUnavailable {
			continue
		}
		if now := denied(); wire.CodeOf(err) != wire.CodeDenied || now != before+1 {
			c.t.Errorf("%s: %v, counted %d times; want it denied and counted", what, err, now-before)
		}
		return
	}
}

// With its own certificate a node cannot say that another is alive, or where it is, or let it in.
func TestNodeSpeaksForItself(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 0, func(*Config) {})
	c.set("max-attempts", "9") // from here on the log has commands that say who asked
	ids := c.followers()
	me, other := ids[0], ids[1]
	as := func() *mux.Conn { return c.asNode(o, me) }
	victim := *c.nodes[c.leader()].log.View().Node(state.NodeID(other))

	for what, beat := range map[string]wire.Heartbeat{
		"another's heartbeat":      {Node: other, Addr: victim.Addr, Incarnation: victim.Incarnation, Refuses: "it is full"},
		"a heartbeat of nobody":    {Addr: victim.Addr},
		"a heartbeat of no member": {Node: "n9", Ready: true},
	} {
		c.refused(what, as, mux.Request{Op: wire.OpHeartbeat, Body: &beat})
	}
	for _, behalf := range []string{"", "node/" + other, "node/n9", "admin/operator"} {
		for _, node := range []string{other, "n9"} {
			join := wire.JoinRequest{Node: node, Addr: "127.0.0.1:1", Level: uint8(state.LevelNow)}
			join.Incarnation = victim.Incarnation + 1
			what := fmt.Sprintf("a join of %s for %q", node, behalf)
			c.refused(what, as, mux.Request{Op: wire.OpJoin, Body: &join, OnBehalf: behalf})
		}
	}
	c.set("max-attempts", "8")
	view := c.nodes[c.leader()].log.View()
	now := view.Node(state.NodeID(other))
	if now.Addr != victim.Addr || now.Incarnation != victim.Incarnation || now.Refuses != "" || view.Node("n9") != nil {
		t.Errorf("%s was %+v, is %+v; n9 is %+v", other, victim, now, view.Node("n9"))
	}
}

// A node reports what it has done and seen, and nothing that another has to say or that nobody proposes.
func TestNodeReportsItsOwn(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 0, func(*Config) {})
	sealed := state.ExtentID(c.sealed(pattern(1, appendPiece+10)).Extent)
	c.whole()
	open := c.run(wire.Submission{Kind: "create"})[0].Extent
	for _, n := range c.nodes {
		n.hold()
	}
	submit := []wire.Submission{{Kind: "seal", Extent: open}}
	if _, err := c.client.Submit(testContext(t), submit, client.SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	var seal *state.Op
	c.until("the seal runs", func(n *Node) bool {
		n.log.View().Running(func(o *state.Op) bool { seal = o; return false })
		return seal != nil
	})
	var me, other string
	for _, id := range c.followers() {
		if id != string(seal.Executor) {
			me = id
		}
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		if id != me {
			other = id
		}
	}
	as := func() *mux.Conn { return c.asNode(o, me) }
	e := c.any().log.View().Extent(sealed)
	of := state.NodeID(other)
	wrong := map[string]state.Command{
		"another's finish":          &state.Finish{Op: seal.ID, Fence: seal.Fence, Outcome: state.OutcomeFail},
		"a finish before the start": &state.Finish{Op: seal.ID, Fence: 1 << 40, Outcome: state.OutcomeFail},
		"another's drop":            &state.Gone{Extent: sealed, Node: of},
		"another's last replica":    &state.Suspect{Extent: sealed, Node: of, Always: true},
		"another's floor":           &state.Proven{Extent: sealed, Node: of, Length: e.Length, Sum: e.Sum, Floor: 1},
		"another length":            &state.Proven{Extent: sealed, Node: of, Length: e.Length + 1},
	}
	reports := []state.CommandType{state.TypeFinish, state.TypeGone, state.TypeSuspect, state.TypeProven}
	for n := range 64 {
		if cmd := state.NewCommand(state.CommandType(n)); cmd != nil && !slices.Contains(reports, cmd.CommandType()) {
			wrong["a "+cmd.CommandType().String()] = cmd
		}
	}
	own := &state.Suspect{Extent: sealed, Node: state.NodeID(me), Note: "mine"}
	for what, cmd := range wrong {
		c.refused(what, as, mux.Request{Op: wire.OpPropose, Body: proposal(t, own, cmd)})
	}
	view := c.nodes[c.leader()].log.View()
	if o := view.Op(seal.ID); o.State != state.OpRunning || o.Fence != seal.Fence {
		t.Errorf("the seal is %s under fence %d, was running under %d", o.State, o.Fence, seal.Fence)
	}
	if now := view.Extent(sealed); now.Whole() != 3 || now.Length != e.Length {
		t.Errorf("%d whole replicas of %d bytes, want 3 of %d", now.Whole(), now.Length, e.Length)
	}
	c.takes(as, sealed, state.NodeID(me), of)
}

// takes checks that the leader takes what a node may report of its own drops, and of the replica of another.
func (c *cell) takes(as func() *mux.Conn, sealed state.ExtentID, me, other state.NodeID) {
	t := c.t
	t.Helper()
	e := c.any().log.View().Extent(sealed)
	for _, report := range []struct { // in this order: what has been compared is whole again
		what string
		cmds []state.Command
	}{
		{"what it dropped, and what it has compared", []state.Command{
			&state.Gone{Extent: sealed, Node: me},
			&state.Proven{Extent: sealed, Node: other, Length: e.Length, Sum: e.Sum},
		}},
		{"what it could not read", []state.Command{
			&state.Suspect{Extent: sealed, Node: other, Note: "seen by " + string(me)},
		}},
	} {
		what, cmds := report.what, report.cmds
		body := proposal(t, cmds...)
		req := mux.Request{Op: wire.OpPropose, Session: wire.OpPropose.SessionFor(body), Body: body}
		answer, err := as().Call(testContext(t), req)
		var reply wire.ProposeReply
		if err == nil {
			err = answer.Decode(&reply)
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for i, res := range reply.Results {
			if res.Code != 0 {
				t.Errorf("%s: %s refused: %s", what, cmds[i].CommandType(), res.Detail)
			}
		}
	}
	if now := c.nodes[c.leader()].log.View().Extent(sealed); now.Whole() != 2 {
		t.Errorf("%d whole replicas, want 2: one could not be read", now.Whole())
	}
}

// In plaintext a node is who its hello says. Who says nothing makes no calls between nodes, by way of no node.
func TestNobodyMakesNoPeerCalls(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	ids := c.followers()
	for _, to := range []string{c.leader(), ids[0]} {
		conn := c.raw(to)
		for op, body := range map[wire.OpType]any{
			wire.OpHeartbeat:   &wire.Heartbeat{},
			wire.OpJoin:        &wire.JoinRequest{Node: "n9", Addr: "127.0.0.1:1", Incarnation: 1},
			wire.OpPropose:     &wire.ProposeRequest{},
			wire.OpPolicyFetch: &wire.PolicyRequest{},
			wire.OpReplicaSum:  &wire.ReplicaSum{},
		} {
			session := wire.SessionControl
			if op == wire.OpReplicaSum {
				session = wire.SessionRepair
			}
			_, err := conn.Call(testContext(t), mux.Request{Op: op, Session: session, Body: body})
			if wire.CodeOf(err) != wire.CodeDenied {
				t.Errorf("%s of nobody at %s: %v, want it denied", op, to, err)
			}
		}
	}
	as := func() *mux.Conn { return c.dialAs(ids[0], c.leader()) }
	c.refused("another's heartbeat", as, mux.Request{Op: wire.OpHeartbeat, Body: &wire.Heartbeat{Node: ids[1]}})
}

// A node that knows only one that follows joins all the same: it asks that one for the leader. While the log says
// nothing yet of who asks for what, a join is taken from a node that passes it on, as older builds do.
func TestJoinAtTheLeader(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 0, func(*Config) {})
	ids := c.followers()
	as := func() *mux.Conn { return c.asNode(o, ids[0]) }
	join := func(behalf string) mux.Request {
		join := wire.JoinRequest{Node: "n9", Addr: "127.0.0.1:1", Incarnation: 7, Level: uint8(state.LevelNow)}
		return mux.Request{Op: wire.OpJoin, Session: wire.SessionControl, Body: &join, OnBehalf: behalf}
	}
	if lvl := c.any().log.View().Level; lvl >= state.LevelNamed {
		t.Fatalf("the log is of level %d from the start", lvl)
	}
	c.refused("a join passed on by a newer build that says not whose", as, join(""))
	c.refused("a join passed on of another", as, join("node/"+ids[1]))
	if _, err := as().Call(testContext(t), join("node/n9")); err != nil {
		t.Fatalf("a join passed on while the cell has older builds: %v", err)
	}

	c.set("max-attempts", "9")
	c.refused("a join passed on", as, join("node/n9"))
	cfg := c.configs[ids[1]]
	cfg.ID, cfg.Dir, cfg.Listen, cfg.Bootstrap = "n4", t.TempDir(), "127.0.0.1:0", nil
	cfg.Join = []string{c.nodes[ids[0]].Addr()}
	cfg.TLS = o.Files(pki.RoleNode, "n4")
	c.configs["n4"] = cfg
	c.start("n4")
	c.ready("n4")
}
