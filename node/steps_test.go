package node

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

// hold keeps every attempt on a node from being worked on, but running.
func (n *Node) hold() {
	n.exec.Replace(func(ctx context.Context, _ *state.Op) (*state.Finish, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// dialAs is a connection to a node from who says that it is another.
func (c *cell) dialAs(from, to string) *mux.Conn {
	c.t.Helper()
	nc, err := net.Dial("tcp", c.nodes[to].Addr())
	if err != nil {
		c.t.Fatal(err)
	}
	conn, err := mux.Client(testContext(c.t), nc, mux.Config{
		Hello: wire.Hello{Cell: c.nodes[to].folder.Cell(), Node: from, Incarnation: 1},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

// askedStep is all that a step says and who says it to whom.
type askedStep struct {
	kind     wire.OpType
	op       uint64
	extent   uint64
	fence    uint64
	birth    uint32
	from, to string
}

func (a askedStep) String() string {
	return fmt.Sprintf("%s of op %d extent %d fence %d birth %08x from %s to %s",
		a.kind, a.op, a.extent, a.fence, a.birth, a.from, a.to)
}

func (a askedStep) request() mux.Request {
	req := mux.Request{Op: a.kind, Session: a.kind.Sessions()[0], Fence: a.fence, MinIndex: 1}
	switch a.kind {
	case wire.OpReplicaCreate:
		req.Body = &wire.ReplicaCreate{Extent: a.extent, Op: a.op, Birth: a.birth}
	case wire.OpReplicaFence:
		req.Body = &wire.ReplicaFence{Extent: a.extent, Op: a.op, Votes: true}
	case wire.OpReplicaRead:
		req.Body = &wire.ReplicaRead{Extent: a.extent, Op: a.op, Length: 10, Birth: a.birth}
	case wire.OpReplicaAppend:
		req.Body, req.Raw = &wire.ReplicaAppend{Extent: a.extent, Birth: a.birth}, []byte("x")
	}
	return req
}

// liveSteps are a right step of each kind, each of an operation that runs now, or of an extent that is open.
func liveSteps(t *testing.T, c *cell) []askedStep {
	sealedExtent := c.sealed(pattern(1, appendPiece+10))
	c.whole()
	open := c.run(wire.Submission{Kind: "create"}, wire.Submission{Kind: "create"})
	for _, n := range c.nodes {
		n.hold()
	}
	view := c.any().log.View()
	empty := "" // the node without a replica of the sealed extent
	for id := range c.nodes {
		if _, holds := view.Extent(state.ExtentID(sealedExtent.Extent)).Replica(state.NodeID(id)); !holds {
			empty = id
		}
	}
	from := string(view.Extent(state.ExtentID(sealedExtent.Extent)).Primary())
	res, err := c.client.Submit(testContext(t), []wire.Submission{
		{Kind: "create"},
		{Kind: "seal", Extent: open[0].Extent},
		{Kind: "move", Extent: sealedExtent.Extent, Node: from, Target: empty},
	}, client.SubmitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var steps []askedStep
	for i, kind := range []wire.OpType{wire.OpReplicaCreate, wire.OpReplicaFence, wire.OpReplicaRead} {
		id, err := state.ParseOpID(res[i].Op)
		if err != nil {
			t.Fatalf("%+v: %v", res[i], err)
		}
		c.until("it runs", func(n *Node) bool { o := n.log.View().Op(id); return o != nil && o.State == state.OpRunning })
		view = c.any().log.View()
		o := view.Op(id)
		e := view.Extent(o.Extent)
		s := askedStep{
			kind: kind, op: uint64(id),
			extent: uint64(e.ID), fence: uint64(o.Fence), birth: e.Birth(),
			from: string(o.Executor),
		}
		s.to = string(o.Source)
		for _, r := range e.Replicas {
			if !o.Copies() && r.Node != o.Executor {
				s.to = string(r.Node)
			}
		}
		steps = append(steps, s)
	}
	e := view.Extent(state.ExtentID(open[1].Extent))
	return append(steps, askedStep{
		kind:   wire.OpReplicaAppend,
		extent: uint64(e.ID), fence: uint64(e.Epoch), birth: e.Birth(),
		from: string(e.Primary()), to: string(e.Replicas[1].Node),
	})
}

// swapped are a step with one field after the other as another live one has it.
func (a askedStep) swapped(b askedStep, nodes []string) []askedStep {
	var all []askedStep
	add := func(changed askedStep) {
		if changed != a {
			all = append(all, changed)
		}
	}
	changed := a
	changed.op = b.op
	if a.kind != wire.OpReplicaAppend { // an append names no operation
		add(changed)
	}
	changed = a
	changed.extent = b.extent
	add(changed)
	changed = a
	changed.fence = b.fence
	add(changed)
	changed = a
	changed.birth = b.birth
	if a.kind != wire.OpReplicaFence { // which names none
		add(changed)
	}
	for _, id := range append(nodes, "") {
		if changed = a; id != a.from {
			changed.from = id
			add(changed)
		}
	}
	// All of another operation, as a step that it does not have.
	changed = b
	changed.kind = a.kind
	if a.kind != b.kind {
		add(changed)
	}
	return all
}

// Every step on any node is compared with the operation that it says it is for: one that has any field of another live
// operation is refused, counted, and changes nothing.
func TestSteps(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	var ids []string
	for id := range c.nodes {
		ids = append(ids, id)
	}
	steps := liveSteps(t, c)
	before := c.stores()
	tried := 0
	for _, a := range steps {
		for _, b := range steps {
			for _, s := range a.swapped(b, ids) {
				tried++
				refused := c.nodes[s.to].replicas.Refused(s.kind)
				conn := c.dialAs(s.from, s.to)
				_, err := conn.Call(testContext(t), s.request())
				conn.Close()
				switch code := wire.CodeOf(err); code {
				case wire.CodeNotRunning, wire.CodeStaleFence, wire.CodeNotFound:
				default:
					t.Errorf("%s, made of %s: %v", s, a, err)
				}
				if c.nodes[s.to].replicas.Refused(s.kind) == refused && s.birth == a.birth {
					t.Errorf("%s was not counted", s)
				}
			}
		}
		c.elsewhere(a, ids)
	}
	if after := c.stores(); after != before {
		t.Errorf("refused steps have changed something:\n%s\nbefore:\n%s", after, before)
	}
	for _, s := range steps { // and as they are they are taken
		conn := c.dialAs(s.from, s.to)
		var err error
		if s.kind == wire.OpReplicaRead {
			var stream *mux.Stream
			if stream, err = conn.Open(testContext(t), s.request()); err == nil {
				_, err = stream.Recv()
			}
		} else {
			_, err = conn.Call(testContext(t), s.request())
		}
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	t.Logf("%d steps tried", tried)
}

// elsewhere asks a node for a step that has no part for it.
func (c *cell) elsewhere(a askedStep, ids []string) {
	c.t.Helper()
	e := c.any().log.View().Extent(state.ExtentID(a.extent))
	right := a.to
	for _, id := range ids {
		_, holds := e.Replica(state.NodeID(id))
		if holds || id == right {
			continue
		}
		a.to = id
		if _, err := c.dialAs(a.from, id).Call(testContext(c.t), a.request()); wire.CodeOf(err) != wire.CodeNotRunning &&
			wire.CodeOf(err) != wire.CodeStaleFence {
			c.t.Errorf("%s, which has no part in it: %v", a, err)
		}
	}
}

// stores is all that the steps could change.
func (c *cell) stores() string {
	var b strings.Builder
	for _, id := range []string{"n1", "n2", "n3", "n4"} {
		for x := extent.ID(1); x < 20; x++ {
			info, err := c.nodes[id].store.Stat(x)
			if fence := c.nodes[id].store.Fence(x); err == nil || fence != 0 {
				fmt.Fprintf(&b, "%s %d: %+v %v fence %d\n", id, x, info, extent.CodeOf(err), fence)
			}
		}
	}
	return b.String()
}
