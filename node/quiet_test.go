package node

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

const (
	allWeek    = "mon-sun 00:00-24:00 UTC move"
	saysQuiet  = "quiet window mon-sun 00:00-24:00"
	saysSerial = "of decommissions one runs at a time (serial)"
)

// submitted is the ID of an operation that is admitted and not waited for.
func (c *cell) submitted(sub wire.Submission) string {
	c.t.Helper()
	res := c.submit(client.SubmitOptions{}, sub)
	if res.Code != 0 {
		c.t.Fatalf("%s: %s", sub.Kind, res.Detail)
	}
	return res.Op
}

// ops is an operation as each node describes it.
func (c *cell) ops(id string) (all []wire.Op) {
	c.t.Helper()
	for _, n := range c.nodes {
		one := client.New(client.Options{Addrs: []string{n.Addr()}, Name: c.t.Name(), TLS: c.clientTLS})
		o, err := one.Op(testContext(c.t), id)
		one.Close()
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

// waits reports whether every node says that an operation is queued, and why.
func (c *cell) waits(id, why string) {
	c.t.Helper()
	for _, o := range c.ops(id) {
		if o.State != "queued" || !strings.Contains(o.Blocked, why) {
			c.t.Errorf("operation %s is %s, blocked %q, want %q", id, o.State, o.Blocked, why)
		}
	}
	for o, err := range c.client.Ops(testContext(c.t), wire.OpsRequest{Open: true}) {
		if err != nil {
			c.t.Fatal(err)
		}
		if o.ID == id && !strings.Contains(o.Blocked, why) {
			c.t.Errorf("in the list operation %s is blocked by %q, want %q", id, o.Blocked, why)
		}
	}
}

// seen is a node as node ls shows it.
func (c *cell) seen(id string) wire.Node {
	c.t.Helper()
	nodes, err := c.client.Nodes(testContext(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	i := slices.IndexFunc(nodes, func(n wire.Node) bool { return n.ID == id })
	return nodes[i]
}

func (c *cell) state(op string, want state.OpState) {
	c.t.Helper()
	id, err := state.ParseOpID(op)
	if err != nil {
		c.t.Fatal(err)
	}
	c.until("operation "+op+" is "+want.String(), func(n *Node) bool {
		o := n.log.View().Op(id)
		return o != nil && o.State == want
	})
}

// ended waits for an operation, which must be done.
func (c *cell) ended(id string) wire.Op {
	c.t.Helper()
	ops, err := c.client.Wait(testContext(c.t), []string{id}, nil)
	if err != nil || ops[0].State != "done" {
		c.t.Fatalf("operation %s: %+v, %v\n%s", id, ops, err, c.describe())
	}
	return ops[0]
}

// holder is a node with a replica.
func (c *cell) holder(loc wire.Locator) string {
	e := c.nodes[c.leader()].log.View().Extent(state.ExtentID(loc.Extent))
	return string(e.Replicas[0].Node)
}

// Whatever a policy says, no move starts inside a quiet window, neither one that a person asks for nor those of a
// decommission; but one that is urgent does, and its entries say so.
func TestQuietWindows(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	first, second := c.sealed(pattern(1, appendPiece+1)), c.sealed(pattern(2, appendPiece+2))
	c.set("quiet-windows", allWeek)
	held := c.submitted(wire.Submission{Kind: "move", Extent: first.Extent, Node: c.holder(first)})
	urgent := c.ended(c.submitted(wire.Submission{
		Kind: "move", Extent: second.Extent, Node: c.holder(second), Urgent: true,
	}))
	if !urgent.Urgent {
		t.Errorf("the operation does not say that it is urgent: %+v", urgent)
	}
	c.waits(held, saysQuiet)
	if asked := c.urgentAdmits(); !slices.Equal(asked, []string{urgent.ID}) {
		t.Errorf("the log says that %v are urgent, want %s", asked, urgent.ID)
	}

	leaving := c.ops(held)[0].Node
	decommission := c.submitted(wire.Submission{Kind: "decommission", Node: leaving})
	c.state(decommission, state.OpRunning)
	c.until("its moves wait", func(n *Node) bool {
		node := n.log.View().Node(state.NodeID(leaving))
		return strings.Contains(describe.Node(n.log.View(), n.lead.LookAt(n.log.View()), node, "").Blocked, saysQuiet)
	})
	again := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "decommission", Node: leaving, Urgent: true})
	if again.Op != decommission || !again.Merged {
		t.Fatalf("asked for again, as urgent: %+v", again)
	}
	if op := c.ended(decommission); !op.Urgent {
		t.Errorf("asked for as urgent later: %+v", op)
	}
	if op := c.ended(held); !op.Urgent {
		t.Errorf("a move that an urgent decommission waited for: %+v", op)
	}
	if n := c.seen(leaving); n.Replicas != 0 || !n.SafeRemove {
		t.Errorf("after an urgent decommission: %+v", n)
	}

	c.run(wire.Submission{Kind: "recommission", Node: leaving})
	held = c.submitted(wire.Submission{Kind: "move", Extent: first.Extent, Node: c.holder(first)})
	c.waits(held, saysQuiet)
	c.set("quiet-windows", "none")
	c.ended(held)
}

// urgentAdmits are the operations that the log says are urgent.
func (c *cell) urgentAdmits() (ids []string) {
	c.nodes[c.leader()].log.View().Ops(0, func(o *state.Op) bool {
		if o.Urgent {
			ids = append(ids, o.ID.String())
		}
		return true
	})
	return ids
}

// When its window ends, a move starts, though nothing else happens in the cell.
func TestQuietWindowEnds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for the end of a minute, which windows end with")
	}
	c := newCell(t, 3, 1)
	stored := c.sealed(pattern(1, appendPiece+1))
	zone := "UTC"
	if time.Now().UTC().Hour() == 23 { // the days of that one are about to change
		zone = "Etc/GMT+6"
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	// The calls until it is known to wait take a busy machine some seconds.
	end := time.Now().In(loc).Add(20 * time.Second).Truncate(time.Minute).Add(time.Minute)
	c.set("quiet-windows", fmt.Sprintf("mon-sun 00:00-%s %s move", end.Format("15:04"), zone))
	id := c.submitted(wire.Submission{Kind: "move", Extent: stored.Extent, Node: c.holder(stored)})
	c.waits(id, "waits until "+end.Format("15:04")+" "+zone)
	<-c.nodes["n1"].clock.After(time.Until(end)) // or patience would have to be longer than a minute and what follows
	if started := time.UnixMicro(c.ended(id).Started); started.Before(end) {
		t.Errorf("it started at %s, the window ends at %s", started.UTC(), end)
	}
}

// What cannot be a window, or a kind, is refused in a line, and changes nothing.
func TestBadWindows(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	c.set("quiet-windows", "mon 08:00-18:00 UTC move")
	before := c.nodes["n1"].log.View().Settings
	for _, bad := range []struct{ key, value, says string }{
		{"quiet-windows", "mon 08:00-18:00 Middle/Earth move", "there is no time zone Middle/Earth here"},
		{"quiet-windows", "fri 22:00-06:00 UTC move", "fri 22:00-24:00 UTC move; sat 00:00-06:00 UTC move"},
		{"quiet-windows", "mon 08:00-18:00 UTC move; mon 17:00-19:00 UTC move", "overlap"},
		{"quiet-windows", "mon 08:00-18:00 UTC delete", "clients wait for it"},
		{"serial", "decomission", "there is no kind of operation"},
	} {
		err := c.client.SetSetting(testContext(t), bad.key, bad.value)
		if wire.CodeOf(err) != wire.CodeInvalid || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s %s: %v, want %q", bad.key, bad.value, err, bad.says)
		}
	}
	if after := c.nodes["n1"].log.View().Settings; !reflect.DeepEqual(after, before) {
		t.Errorf("the settings are %+v, were %+v", after, before)
	}
	res := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "create", Urgent: true})
	if res.Code != wire.CodeInvalid {
		t.Errorf("an urgent create: %+v", res)
	}
	cfg := c.configs["n1"]
	cfg.Settings = map[string]string{"quiet-windows": "mon 08:00-18:00 Middle/Earth move"}
	if err := cfg.valid(); err == nil || !strings.Contains(err.Error(), "Middle/Earth") {
		t.Errorf("a configuration with a zone that there is not: %v", err)
	}
}

// One decommission runs at a time. The others are queued, in an order that admins can change, and their nodes take
// replicas until their turn comes.
func TestDecommissionsOneAtATime(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 3, func(*Config) {})
	for i := range 6 {
		c.sealed(pattern(uint64(i), appendPiece+i))
	}
	c.set("quiet-windows", allWeek) // the first one stays
	first := c.submitted(wire.Submission{Kind: "decommission", Node: "n4"})
	c.state(first, state.OpRunning)
	second := c.submitted(wire.Submission{Kind: "decommission", Node: "n5"})
	third := c.submitted(wire.Submission{Kind: "decommission", Node: "n6", Urgent: true})
	c.waits(second, "waits for decommission "+first+" of n4: "+saysSerial)
	c.waits(third, "waits for decommission "+first+" of n4 and the one queued before it: "+saysSerial)
	if n := c.seen("n5"); n.Mode != "active" || n.Operation != second || !strings.Contains(n.Blocked, saysSerial) {
		t.Errorf("a node that waits to be emptied: %+v", n)
	}

	bob := c.as(o.Source(pki.RoleClient, "bob"))
	defer bob.Close()
	if _, err := bob.Reorder(testContext(t), third, ""); wire.CodeOf(err) != wire.CodeDenied {
		t.Errorf("a client changes the order: %v", err)
	}
	if _, err := c.client.Reorder(testContext(t), third, first); wire.CodeOf(err) != wire.CodePrecondition {
		t.Errorf("before one that runs: %v", err)
	}
	if _, err := c.client.Reorder(testContext(t), third, "4.5.6"); wire.CodeOf(err) != wire.CodeInvalid {
		t.Errorf("before nonsense: %v", err)
	}
	if op, err := c.client.Reorder(testContext(t), third, second); err != nil || op.ID != third {
		t.Fatalf("before the second: %+v, %v", op, err)
	}
	c.until("the new order is known", func(n *Node) bool { return slices.Contains(inTurn(n), third) })
	c.waits(second, "waits for decommission "+first+" of n4 and the one queued before it: "+saysSerial)
	isReorder := func(cmd state.Command) bool { return cmd.CommandType() == state.TypeReorder }
	if who := c.askers(isReorder); !slices.Contains(who, "admin/operator") || slices.Contains(who, "client/bob") {
		t.Errorf("the log says that %v changed the order", who)
	}

	if _, err := c.client.Cancel(testContext(t), first); err != nil {
		t.Fatal(err)
	}
	c.ended(third) // it is urgent, and its moves are
	c.state(second, state.OpRunning)
	if n := c.seen("n6"); !n.SafeRemove || n.Replicas != 0 {
		t.Errorf("after its decommission: %+v", n)
	}
	c.neverTogether(policies.KindDecommission)
	c.set("quiet-windows", "none")
	c.ended(second)
	c.checkLog()
}

// inTurn are the operations that have a turn, as a node knows them.
func inTurn(n *Node) (ids []string) {
	n.log.View().Queued(func(o *state.Op) bool {
		if o.Turn != 0 {
			ids = append(ids, o.ID.String())
		}
		return true
	})
	return ids
}

// neverTogether reports whether, by the log, ever two operations of a kind ran at once.
func (c *cell) neverTogether(kind policies.Kind) {
	c.t.Helper()
	type span struct {
		id       state.OpID
		from, to state.Index
	}
	var spans []span
	c.nodes[c.leader()].log.View().Ops(0, func(o *state.Op) bool {
		if o.Kind == kind && o.Fence != 0 {
			spans = append(spans, span{o.ID, state.Index(o.Fence), o.EndedIndex})
		}
		return true
	})
	for _, a := range spans {
		for _, b := range spans {
			if a.id != b.id && a.from <= b.from && (a.to == 0 || b.from < a.to) {
				c.t.Errorf("%ss %s (entries %d to %d) and %s (from %d) ran together", kind, a.id, a.from, a.to, b.id, b.from)
			}
		}
	}
	if len(spans) < 2 {
		c.t.Errorf("%d %ss have run", len(spans), kind)
	}
}
