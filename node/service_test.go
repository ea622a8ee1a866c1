package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

func httpGet(t *testing.T, n *Node, path string) (status int, body string) {
	t.Helper()
	_, port, err := net.SplitHostPort(n.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, "http://127.0.0.1:"+port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	one := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := one.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// Health needs no quorum, readiness does and says what is missing, metrics count what there is.
func TestHTTP(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		if cfg.HTTP = "127.0.0.1:0"; cfg.ID == "n2" {
			cfg.HTTP = "0.0.0.0:0"
		}
	})
	// Profiles tell strangers too much.
	for id, want := range map[string]int{"n1": http.StatusOK, "n2": http.StatusNotFound} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine", "/debug/pprof/trace?seconds=0"} {
			if status, _ := httpGet(t, c.nodes[id], path); status != want {
				t.Errorf("%s of %s, which serves HTTP on %s: %d, want %d", path, id, c.nodes[id].HTTPAddr(), status, want)
			}
		}
	}
	c.sealed(pattern(1, appendPiece+1))
	n := c.nodes["n3"]
	if status, body := httpGet(t, n, "/readyz?verbose"); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, body)
	}
	_, metrics := httpGet(t, n, "/metrics")
	for _, want := range []string{
		"datanode_ready 1", "datanode_extents 1", "datanode_replicas 3",
		`datanode_wire_mismatch_total{kind="unknown-call"} 0`, "datanode_extents_lacking 0",
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("metrics lack %q", want)
		}
	}
	c.kill("n1")
	c.kill("n2")
	if status, _ := httpGet(t, n, "/livez"); status != http.StatusOK {
		t.Errorf("livez without a quorum: %d", status)
	}
	for changed := n.log.LeaderChanged(); n.log.IsLeader(); changed = n.log.LeaderChanged() { // until it notices
		select {
		case <-changed:
		case <-testContext(t).Done():
			t.Fatal("n3 leads without a quorum")
		}
	}
	status, body := httpGet(t, n, "/readyz?verbose")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "consistent-read") {
		t.Errorf("readyz without a quorum: %d %s", status, body)
	}
}

// A put that is under way when its node is asked to stop is carried to its end.
func TestDrain(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	n := c.nodes["n2"]
	one := client.New(client.Options{Addrs: []string{n.Addr()}})
	defer one.Close()
	want := pattern(1, 3*appendPiece)
	r, w := io.Pipe()
	type result struct {
		loc wire.Locator
		err error
	}
	got := make(chan result, 1)
	go func() {
		loc, err := one.Put(testContext(t), r, client.PutOptions{Class: "draining"})
		r.CloseWithError(err) // or a put that failed would keep the writer below waiting
		got <- result{loc, err}
	}()
	if _, err := w.Write(want[:2*appendPiece]); err != nil {
		t.Fatal(err)
	}
	for open := false; !open; {
		changed := n.log.Changed()
		n.log.View().Extents(0, func(e *state.Extent) bool {
			open = e.Class == "draining" && e.State == state.ExtentOpen
			return !open
		})
		if open {
			break
		}
		select {
		case <-changed:
		case put := <-got:
			t.Fatalf("put before draining: %v", put.err)
		}
	}
	drained := make(chan error, 1)
	go func() { drained <- n.Drain(testContext(t)) }()
	<-n.life.drains
	if _, err := w.Write(want[2*appendPiece:]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	put := <-got
	if put.err != nil {
		t.Fatalf("put while draining: %v", put.err)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	<-n.Done()
	delete(c.nodes, "n2")
	if data, err := c.get(put.loc, ""); err != nil || !bytes.Equal(data, want) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// raw is a connection that speaks to a node without the client's own care.
func (c *cell) raw(id string) *mux.Conn {
	c.t.Helper()
	nc, err := net.Dial("tcp", c.nodes[id].Addr())
	if err != nil {
		c.t.Fatal(err)
	}
	conn, err := mux.Client(testContext(c.t), nc, mux.Config{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

// call makes a call that may be repeated, and repeats it while there is no leader: on a busy machine leadership
// is lost now and then, and the honest answer is that nobody knows what became of the request.
func call[R any](t *testing.T, conn *mux.Conn, op wire.OpType, body any) R {
	t.Helper()
	ctx := testContext(t)
	req := mux.Request{Op: op, Session: wire.SessionControl, Body: body}
	answer, err := conn.Call(ctx, req)
	for wire.CodeOf(err) == wire.CodeUnavailable {
		t.Logf("%s again: %v", op, err)
		select {
		case <-time.After(5 * time.Millisecond): // nothing tells of a leader that another node may not know yet
		case <-ctx.Done():
		}
		answer, err = conn.Call(ctx, req)
	}
	if err != nil {
		t.Fatal(err)
	}
	var reply R
	if err := answer.Decode(&reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

// A request that is repeated, at another node and after a change of the leader, is answered as the
// first time, and run once. It stays its client's, whichever node passed it on.
func TestSubmitTwice(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	ids := []string{"n1", "n2", "n3"}
	session := call[wire.SessionReply](t, c.raw("n1"), wire.OpSession, &wire.SessionRequest{Client: "test"})
	req := &wire.SubmitRequest{Session: session.Session, Submit: []wire.Submission{
		{Seq: 1, Kind: "create"}, {Seq: 2, Kind: "delete", Extent: 999},
	}}
	first := call[wire.SubmitReply](t, c.raw("n1"), wire.OpSubmit, req).Results
	c.kill(c.leader())
	c.leader()
	for _, id := range ids {
		if c.nodes[id] == nil {
			continue
		}
		again := call[wire.SubmitReply](t, c.raw(id), wire.OpSubmit, req).Results
		if again[0].Op != first[0].Op || again[0].Extent != first[0].Extent || again[1].Code != wire.CodeNotFound {
			t.Errorf("on %s: %+v, the first time %+v", id, again, first)
		}
	}
	op, err := c.client.Op(testContext(t), first[0].Op)
	if err != nil || op.Origin != "user" {
		t.Errorf("origin %q, %v", op.Origin, err)
	}
	creates := 0
	c.any().log.View().Ops(0, func(o *state.Op) bool {
		if o.Kind == policies.KindCreate {
			creates++
		}
		return true
	})
	if creates != 1 {
		t.Errorf("%d creates", creates)
	}
}

// A request is repeated when what it asked for is done and forgotten: the answer is the first one, not that there is
// no such extent.
func TestSubmitAgainAfterTheEnd(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	loc := c.put(pattern(1, 100))
	session := call[wire.SessionReply](t, c.raw("n1"), wire.OpSession, &wire.SessionRequest{Client: "test"})
	req := &wire.SubmitRequest{
		Session: session.Session,
		Submit:  []wire.Submission{{Seq: 1, Kind: "delete", Extent: loc.Extent}},
	}
	first := call[wire.SubmitReply](t, c.raw("n1"), wire.OpSubmit, req).Results
	if first[0].Code != 0 {
		t.Fatalf("%+v", first)
	}
	c.until("the extent is forgotten", func(n *Node) bool {
		return n.log.View().Extent(state.ExtentID(loc.Extent)) == nil
	})
	again := call[wire.SubmitReply](t, c.raw("n1"), wire.OpSubmit, req).Results
	if !reflect.DeepEqual(again, first) {
		t.Errorf("the second time %+v, the first time %+v", again, first)
	}
	req.Submit[0].Seq = 2
	if other := call[wire.SubmitReply](t, c.raw("n1"), wire.OpSubmit, req).Results; other[0].Code != wire.CodeNotFound {
		t.Errorf("another request for it: %+v", other)
	}
}

// A class that a terminal would obey, or that padding would cut, is refused before it is in the log.
func TestClassIsPlain(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	before := c.nodes["n1"].log.View().NextExtent
	for _, class := range []string{"\x1b[31mred", "gold\nn1", "gold\x00", "\xff", "seventeen bytes !"} {
		_, err := c.raw("n1").Call(testContext(t), mux.Request{
			Op: wire.OpPut, Session: wire.SessionClient, Body: &wire.PutRequest{Class: class, Length: -1},
		})
		if wire.CodeOf(err) != wire.CodeInvalid {
			t.Errorf("put with class %q: %v", class, err)
		}
		req := &wire.SubmitRequest{Submit: []wire.Submission{{Seq: 1, Kind: "create", Class: class}}}
		if r := call[wire.SubmitReply](t, c.raw("n1"), wire.OpSubmit, req).Results; r[0].Code != wire.CodeInvalid {
			t.Errorf("create with class %q: %+v", class, r)
		}
	}
	if after := c.nodes["n1"].log.View().NextExtent; after != before {
		t.Errorf("%d extents were made", after-before)
	}
}

// A node takes from others only reports, and from each only its own word about its own files.
func TestProposeIsChecked(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	for what, cmd := range map[string]state.Command{
		"a file gone from another node": &state.Gone{Extent: 1, Node: "n1", Since: 1},
		"a decision":                    &state.Cancel{Op: 1},
	} {
		body, err := raftlog.AppendCommands(nil, []state.Command{cmd})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.raw("n1").Call(testContext(t), mux.Request{Op: wire.OpPropose, Session: wire.SessionControl,
			Body: &wire.ProposeRequest{Commands: body}})
		if wire.CodeOf(err) != wire.CodeDenied {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// fakeHost takes modules that begin with "policy ", and calls the policy what follows.
type fakeHost struct{}

type namedPolicy struct {
	policies.Policy
	info policies.Info
}

func (p *namedPolicy) Info() policies.Info { return p.info }

func (fakeHost) Compile(
	_ context.Context, module []byte, config map[string]string, _ policies.Budget,
) (policies.Policy, error) {
	name, ok := strings.CutPrefix(string(module), "policy ")
	if !ok {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodeEnvelope, "not a module: it begins with other bytes")
	}
	native := policies.Native()
	return &namedPolicy{native, policies.Info{
		Name: name, Version: "1", Digest: modules.DigestOf(module), Reasons: native.Info().Reasons,
	}}, nil
}

// shortHost cannot compile one policy at first, though nothing is wrong with it.
type shortHost struct {
	fakeHost
	fails *atomic.Int32 // so many times
}

func (h shortHost) Compile(
	ctx context.Context, module []byte, config map[string]string, b policies.Budget,
) (policies.Policy, error) {
	if string(module) == "policy late" && h.fails.Add(-1) >= 0 {
		return nil, errors.New("no process can be started")
	}
	return h.fakeHost.Compile(ctx, module, config, b)
}

// What cannot be compiled for a reason of the machine's is compiled later, without anything else happening.
func TestPolicyCompiledLater(t *testing.T) {
	t.Parallel()
	fails := map[string]*atomic.Int32{}
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		fails[cfg.ID] = new(atomic.Int32)
		cfg.Policies, cfg.DefaultModule = shortHost{fails: fails[cfg.ID]}, []byte("policy one")
	})
	short := map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}[c.leader()] // the leader is who loads it
	fails[short].Store(1)
	p, err := c.client.PolicyLoad(testContext(t), []byte("policy late"))
	if err != nil {
		t.Fatal(err)
	}
	c.untilTrue(short+" has the policy", func() bool { return c.nodes[short].knows(p.Digest) })
	if left := fails[short].Load(); left >= 0 {
		t.Errorf("%s was never asked in vain, %d failures are left", short, left+1)
	}
}

// A policy is refused at the gate, or reaches every node: also one that was down when it was loaded.
func TestPolicies(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.Policies, cfg.DefaultModule = fakeHost{}, []byte("policy one") })
	ctx := testContext(t)
	if _, err := c.client.PolicyLoad(ctx, []byte("garbage")); wire.CodeOf(err) != wire.CodeEnvelope {
		t.Errorf("garbage: %v", err)
	} else {
		oneLine(t, err, "not a module")
	}
	active := func(name string) {
		t.Helper()
		c.until(name+" decides", func(n *Node) bool {
			view := n.log.View()
			p := view.Policy(view.Active)
			return p != nil && p.Name == name
		})
	}
	active("one")
	down := "n1"
	if c.leader() == down {
		down = "n2"
	}
	c.kill(down)
	p, err := c.client.PolicyLoad(ctx, []byte("policy two"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.PolicyActivate(ctx, p.Digest); err != nil {
		t.Fatal(err)
	}
	active("two")
	c.start(down)
	c.ready(down)
	c.untilTrue(fmt.Sprintf("%s has compiled it", down), func() bool { return c.nodes[down].knows(p.Digest) })
	loc := c.put([]byte("decided by two"))
	var decision state.Decision
	c.any().log.View().Ops(0, func(o *state.Op) bool {
		if uint64(o.Extent) == loc.Extent {
			decision = o.Decision
		}
		return true
	})
	if decision.Policy != p.Digest || decision.Fallback != "" {
		t.Errorf("the create was decided by %q, fallback %q", decision.Policy, decision.Fallback)
	}
	if _, err := c.client.PolicyRollback(ctx); err != nil {
		t.Fatal(err)
	}
	active("one")
}
