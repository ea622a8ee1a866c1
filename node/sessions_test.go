package node

import (
	"bytes"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

// voice asks without a client's own care, in any session and under any number.
type voice struct {
	c      *cell
	source *pki.Source // nil: in plaintext
}

// dial is a connection to a node.
func (v voice) dial(id string) *mux.Conn {
	v.c.t.Helper()
	if v.source == nil {
		return v.c.raw(id)
	}
	ctx, addr := testContext(v.c.t), v.c.nodes[id].Addr()
	nc, err := transport.DialTCP(ctx, addr)
	if err != nil {
		v.c.t.Fatal(err)
	}
	tc, _, err := v.source.Client(ctx, nc, addr, pki.ProtocolFrames)
	if err != nil {
		v.c.t.Fatal(err)
	}
	conn, err := mux.Client(ctx, tc, mux.Config{})
	if err != nil {
		v.c.t.Fatal(err)
	}
	v.c.t.Cleanup(func() { conn.Close() })
	return conn
}

// ask makes a call at a node, again while there is no leader.
func askAt[R any](v voice, id string, op wire.OpType, body any) R {
	v.c.t.Helper()
	return call[R](v.c.t, v.dial(id), op, body)
}

func (v voice) session(id string) uint64 {
	v.c.t.Helper()
	return askAt[wire.SessionReply](v, id, wire.OpSession, &wire.SessionRequest{Client: "voice"}).Session
}

// submit asks for one operation through a node.
func (v voice) submit(id string, session, seq uint64, s wire.Submission) wire.Submitted {
	v.c.t.Helper()
	s.Seq = seq
	reply := askAt[wire.SubmitReply](v, id, wire.OpSubmit,
		&wire.SubmitRequest{Session: session, Submit: []wire.Submission{s}})
	if len(reply.Results) != 1 {
		v.c.t.Fatalf("%d results for one submission", len(reply.Results))
	}
	return reply.Results[0]
}

// refusedAs reports whether a submission was refused with a code, and the words say why.
func refusedAs(t *testing.T, what string, got wire.Submitted, code wire.Code, words ...string) {
	t.Helper()
	if got.Code != code || got.Op != "" {
		t.Errorf("%s: %+v, want a refusal of code %s", what, got, code)
	}
	for _, w := range words {
		if !strings.Contains(got.Detail, w) {
			t.Errorf("%s: refused with %q, want it to say %q", what, got.Detail, w)
		}
	}
}

// misuses is how often the nodes have refused something for its session.
func (c *cell) misuses() (owner, number, answer uint64) {
	for _, n := range c.nodes {
		o, m := n.lead.Misused()
		owner, number, answer = owner+o, number+m, answer+n.submitter.WrongAnswers()
	}
	return owner, number, answer
}

// untouched makes sure that an extent is sealed, whole, and about to be nothing else.
func (c *cell) untouched(id uint64) {
	c.t.Helper()
	e := c.nodes[c.leader()].log.View().Extent(state.ExtentID(id))
	if e == nil || e.State != state.ExtentSealed || len(e.Ops) != 0 {
		c.t.Errorf("extent %d: %v, want it sealed and left alone\n%s", id, e, c.describe())
	}
}

// Nobody submits in another's session, nor is answered in it: not a client in another's, nor in a node's; through
// whichever node, after a change of leader, after a snapshot, and after every node has started anew.
func TestSessionsBelongToWhoOpenedThem(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 0, func(*Config) {})
	alice, bob := voice{c, o.Source(pki.RoleClient, "alice")}, voice{c, o.Source(pki.RoleClient, "bob")}
	namesake := voice{c, o.Source(pki.RoleAdmin, "alice")}
	sealed, other := c.sealed(pattern(1, 3000)), c.sealed(pattern(2, 3000))
	open := c.put(pattern(3, 1000))
	session := alice.session("n1")
	first := alice.submit("n1", session, 1, wire.Submission{Kind: "seal", Extent: open.Extent})
	if first.Code != 0 || first.Kind != "seal" {
		t.Fatalf("seal: %+v", first)
	}
	tries := uint64(0)
	check := func(when string) {
		t.Helper()
		before, _, _ := c.misuses()
		for id := range c.nodes {
			for _, v := range []voice{bob, namesake} {
				refusedAs(t, when+": answered seal, as a delete, in another's session",
					v.submit(id, session, 1, wire.Submission{Kind: "delete", Extent: sealed.Extent}),
					wire.CodeDenied, "not that of", "open one")
				refusedAs(t, when+": the very same request in another's session",
					v.submit(id, session, 1, wire.Submission{Kind: "seal", Extent: open.Extent}), wire.CodeDenied)
				refusedAs(t, when+": a new request in another's session",
					v.submit(id, session, 100+tries, wire.Submission{Kind: "delete", Extent: other.Extent}), wire.CodeDenied)
				tries++
			}
			again := alice.submit(id, session, 1, wire.Submission{Kind: "seal", Extent: open.Extent})
			if again.Op != first.Op || again.Extent != open.Extent {
				t.Errorf("%s: asked again through %s: %+v, want %+v", when, id, again, first)
			}
			refusedAs(t, when+": another request under the number",
				alice.submit(id, session, 1, wire.Submission{Kind: "delete", Extent: open.Extent}),
				wire.CodeInvalid, "a seal of extent", "number of its own")
		}
		if after, _, _ := c.misuses(); after-before != 18 {
			t.Errorf("%s: %d tries counted, want 18", when, after-before)
		}
		c.untouched(sealed.Extent)
		c.untouched(other.Extent)
	}
	check("at first")
	c.moveLead()
	check("after a change of leader")
	for _, n := range c.nodes {
		if err := n.log.Snapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	for id := range c.killAll() {
		c.start(id)
	}
	for id := range c.nodes {
		c.ready(id)
	}
	check("after a snapshot and a restart")
	if res := alice.submit("n2", session, 2, wire.Submission{Kind: "delete", Extent: other.Extent}); res.Code != 0 {
		t.Errorf("its owner goes on in it: %+v", res)
	}
}

// moveLead lets another node lead.
func (c *cell) moveLead() {
	c.t.Helper()
	was := c.leader()
	if err := c.nodes[was].log.TransferLeadership(testContext(c.t)); err != nil {
		c.t.Fatal(err)
	}
	c.untilTrue("another leads", func() bool { return c.leader() != was })
}

// ownSessionOf is a node's own session, once it has one.
func (c *cell) ownSessionOf(id string) *state.Session {
	c.t.Helper()
	var own *state.Session
	c.nodes[c.leader()].log.View().Sessions(func(ses *state.Session) bool {
		if ses.Client == id {
			own = ses
		}
		return true
	})
	if own == nil {
		c.t.Fatalf("%s has no session", id)
	}
	return own
}

// create lets a node have an extent of a new class made, and answers where the bytes are.
func (c *cell) createAt(id, class string, source *pki.Source) wire.Locator {
	c.t.Helper()
	one := client.New(client.Options{Addrs: []string{c.nodes[id].Addr()}, Name: c.t.Name(), TLS: source})
	defer one.Close()
	loc, err := one.Put(testContext(c.t), bytes.NewReader(pattern(9, 500)), client.PutOptions{Class: class, Length: 500})
	if err != nil {
		c.t.Fatalf("put of class %s at %s: %v\n%s", class, id, err, c.describe())
	}
	return loc
}

// Somebody uses up the numbers of a node's session: with certificates he may not; without them he can, and the node is
// not answered with what he asked for. It discards no extent that it has not made, and stores what it is given.
func TestNodesSessionIsNotUsedByOthers(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{true, false} {
		t.Run(map[bool]string{true: "secure", false: "plaintext"}[secure], func(t *testing.T) {
			t.Parallel()
			var c *cell
			var source *pki.Source
			if secure {
				o := newOffice(t, "cell")
				c, source = newSecureCell(t, o, 3, 0, func(*Config) {}), o.Source(pki.RoleClient, "bob")
			} else {
				c = newCell(t, 3, 0)
			}
			bob := voice{c, source}
			victim := c.createAt("n1", "first", source)
			open := c.createAt("n2", "second", source)
			for id := range c.nodes {
				c.createAt(id, "third", source)
				own := c.ownSessionOf(id)
				last := own.Answers[len(own.Answers)-1].Seq
				for i := range uint64(5) {
					res := bob.submit("n3", uint64(own.ID), last+1+i, wire.Submission{Kind: "seal", Extent: open.Extent})
					if secure {
						refusedAs(t, "in the session of "+id, res, wire.CodeDenied)
					}
				}
				loc := c.createAt(id, "fourth", source)
				if loc.Extent == open.Extent || loc.Extent == victim.Extent {
					t.Errorf("%s was told of extent %d, which is another", id, loc.Extent)
				}
				if got, err := c.get(loc, ""); err != nil || !bytes.Equal(got, pattern(9, 500)) {
					t.Errorf("read %d bytes of %s, %v", len(got), loc, err)
				}
			}
			for _, loc := range []wire.Locator{victim, open} {
				if got, err := c.get(loc, ""); err != nil || !bytes.Equal(got, pattern(9, 500)) {
					t.Errorf("read %d bytes of %s, %v\n%s", len(got), loc, err, c.describe())
				}
			}
			owner, number, answer := c.misuses()
			if secure != (owner > 0) || secure == (number > 0) || answer != 0 {
				t.Errorf("counted: %d of others' sessions, %d of others' numbers, %d answers", owner, number, answer)
			}
		})
	}
}

// A node whose submissions are answered with somebody else's does not believe it: it discards nothing, and a put goes
// on.
func TestNodeDoesNotBelieveAnotherAnswer(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	n := c.nodes["n1"]
	kept := c.sealed(pattern(1, 3000))
	seal := n.log.View().Extent(state.ExtentID(kept.Extent))
	var sealOp, createOp *state.Op
	n.log.View().Ops(0, func(o *state.Op) bool {
		if o.Extent == seal.ID && o.Kind.String() == "seal" {
			sealOp = o
		}
		if o.Extent == seal.ID && o.Kind.String() == "create" {
			createOp = o
		}
		return true
	})
	n.data.AskDiscard(seal.ID, sealOp.ID)
	n.data.AskDiscard(seal.ID+7, createOp.ID)
	c.untilTrue("both answers are counted", func() bool { _, _, answer := c.misuses(); return answer == 2 })
	c.untouched(kept.Extent)
	res := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "create"})
	if res.Code != 0 {
		t.Fatal(res.Detail)
	}
	n.data.AskDiscard(state.ExtentID(res.Extent), mustOp(t, res.Op)) // a client has asked for it
	c.untilTrue("that answer is counted", func() bool { _, _, answer := c.misuses(); return answer == 3 })
	c.put(pattern(4, 2000))
}

func mustOp(t *testing.T, id string) state.OpID {
	t.Helper()
	op, err := state.ParseOpID(id)
	if err != nil {
		t.Fatal(err)
	}
	return op
}
