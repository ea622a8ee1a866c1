package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient makes a client whose patience does not depend on the clock: its time stands still, and
// each pause is over at once, after patience rounds time jumps to the end.
func newClient(t *testing.T, patience int, nodes ...*fakeNode) *Client {
	t.Helper()
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.addr())
	}
	c := New(Options{Addrs: addrs})
	now := time.Unix(0, 0)
	rounds := 0
	c.opts.Clock = mux.Clock{
		Now: func() time.Time { return now },
		AfterFunc: func(_ time.Duration, f func()) func() bool {
			if rounds++; rounds >= patience {
				now = now.Add(time.Hour)
			}
			go f()
			return func() bool { return false }
		},
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

func unavailable(context.Context, *mux.ServerCall) error {
	return wire.Errorf(wire.OpStatus, wire.CodeUnavailable, "no leader is known")
}

func TestPutAndRead(t *testing.T) {
	cell := newFakeCell()
	c := newClient(t, 3, cell.node(t, "n1"))
	for _, size := range []int{0, 1, 5000, 3 << 20} {
		data := randomBytes(size)
		l, err := c.Put(t.Context(), io.MultiReader(bytes.NewReader(data)), PutOptions{Length: int64(size)})
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		reply, err := c.Read(t.Context(), wire.ReadRequest{Locator: l}, &got)
		if err != nil || !bytes.Equal(got.Bytes(), data) || reply.Length != uint64(size) {
			t.Fatalf("%s: %v, %d bytes, reply %+v; want the %d bytes that were put", l, err, got.Len(), reply, size)
		}
	}
}

// A node that is gone, one that cannot serve: the next address answers, and is asked first from then on.
func TestFailover(t *testing.T) {
	cell := newFakeCell()
	n1, n2, n3 := cell.node(t, "n1"), cell.node(t, "n2"), cell.node(t, "n3")
	c := newClient(t, 3, n1, n2, n3)
	n1.kill()
	n2.set(unavailable, nil)
	for range 2 {
		s, err := c.Status(t.Context())
		if err != nil || s.Node != "n3" {
			t.Fatalf("status of %q, %v; want that of n3", s.Node, err)
		}
	}
	if n := n2.asked(wire.OpStatus); n != 1 {
		t.Errorf("n2 was asked %d times, want once: n3 answers", n)
	}
	n3.kill()
	n2.set(nil, nil)
	if s, err := c.Status(t.Context()); err != nil || s.Node != "n2" {
		t.Fatalf("status of %q, %v; want that of n2", s.Node, err)
	}
}

// While no node can serve, the client goes round until one can.
func TestWaitsForLeader(t *testing.T) {
	cell := newFakeCell()
	n := cell.node(t, "n1")
	asked := 0
	n.set(func(ctx context.Context, c *mux.ServerCall) error {
		if asked++; asked < 5 {
			return unavailable(ctx, c)
		}
		return nil
	}, nil)
	c := newClient(t, 100, n)
	if _, err := c.Status(t.Context()); err != nil || asked != 5 {
		t.Fatalf("%v after %d attempts, want success at the fifth", err, asked)
	}
}

func TestUnreachableCellSaysWhatWasTried(t *testing.T) {
	cell := newFakeCell()
	n1, n2 := cell.node(t, "n1"), cell.node(t, "n2")
	c := newClient(t, 3, n1, n2)
	n1.kill()
	n2.kill()
	_, err := c.Status(t.Context())
	if wire.CodeOf(err) != wire.CodeUnavailable || wire.OutcomeOf(err) != wire.NotDone {
		t.Fatalf("%v: code %v, outcome %v; want unavailable, not done", err, wire.CodeOf(err), wire.OutcomeOf(err))
	}
	if away := (*Unreachable)(nil); !errors.As(err, &away) || !away.Silent || away.HungUp || away.Addr != "" {
		t.Errorf("%+v, want Silent and no more", away)
	}
	for _, part := range []string{n1.addr() + ": connection refused", n2.addr() + ": connection refused"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	n3 := cell.node(t, "n3")
	n3.set(unavailable, nil)
	_, err = newClient(t, 3, n2, n3).Status(t.Context())
	if wire.CodeOf(err) != wire.CodeUnavailable || !strings.Contains(err.Error(), n3.addr()+": no leader is known") {
		t.Errorf("%v: want unavailable, with what n3 said", err)
	}
}

// What a node refuses for good is not asked again, there or elsewhere.
func TestRefusalIsFinal(t *testing.T) {
	cell := newFakeCell()
	n1, n2 := cell.node(t, "n1"), cell.node(t, "n2")
	c := newClient(t, 100, n1, n2)
	_, err := c.Extent(t.Context(), 9)
	if wire.CodeOf(err) != wire.CodeNotFound {
		t.Fatalf("%v, want not found", err)
	}
	if a, b := n1.asked(wire.OpExtents), n2.asked(wire.OpExtents); a != 1 || b != 0 {
		t.Fatalf("asked %d and %d times, want 1 and 0", a, b)
	}
}

// A read that is cut off goes on at the byte that it reached, whether the range was known or not.
func TestReadGoesOnWhereItStopped(t *testing.T) {
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole=%t", whole), func(t *testing.T) {
			cell := newFakeCell()
			n1, n2 := cell.node(t, "n1"), cell.node(t, "n2")
			c := newClient(t, 100, n1, n2)
			data := randomBytes(100_000)
			cell.extents[7] = data
			n1.cutAt, n2.cutAt = 40_000, 10_000
			req := wire.ReadRequest{Locator: wire.Locator{Extent: 7, Offset: 11, Length: 99_000}}
			want := data[11 : 11+99_000]
			if whole {
				req = wire.ReadRequest{Locator: wire.Locator{Extent: 7}, Whole: true}
				want = data
			}
			var got bytes.Buffer
			reply, err := c.Read(t.Context(), req, &got)
			if err != nil || !bytes.Equal(got.Bytes(), want) || reply.Length != uint64(len(want)) {
				t.Fatalf("%v, %d bytes, %+v; want the %d bytes once each", err, got.Len(), reply, len(want))
			}
			if n := n1.asked(wire.OpRead) + n2.asked(wire.OpRead); n < 2 {
				t.Fatalf("%d attempts: nothing was cut off", n)
			}
		})
	}
}

// A reply that does not fit what came is an error, not a short read.
func TestReadChecksLength(t *testing.T) {
	cell := newFakeCell()
	n := cell.node(t, "n1")
	n.set(func(_ context.Context, c *mux.ServerCall) error {
		_ = c.Send([]byte("abc"))
		_ = c.Reply(&wire.ReadReply{Length: 4, Node: "n1"}, nil)
		return nil
	}, nil)
	_, err := newClient(t, 1, n).Read(t.Context(), wire.ReadRequest{Locator: wire.Locator{Extent: 1, Length: 4}},
		io.Discard)
	if wire.CodeOf(err) != wire.CodeProtocol {
		t.Fatalf("%v, want a protocol error", err)
	}
}

// A client that was given one address finds the others of the cell, and goes on there.
func TestLearn(t *testing.T) {
	cell := newFakeCell()
	n1, n2 := cell.node(t, "n1"), cell.node(t, "n2")
	for _, n := range []*fakeNode{n1, n2} {
		cell.nodes = append(cell.nodes, wire.Node{ID: n.id, Addr: n.addr(), State: "up", Mode: "active"})
	}
	cell.nodes = append(cell.nodes, wire.Node{ID: "n3", Addr: "no address", State: "up", Mode: "active"},
		wire.Node{ID: "n4", Addr: "127.0.0.1:1", State: "down", Mode: "active"})
	c := newClient(t, 3, n1)
	if err := c.Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.addrs(); len(got) != 2 {
		t.Errorf("it knows %q", got)
	}
	n1.kill()
	if _, err := c.Put(t.Context(), strings.NewReader("abc"), PutOptions{}); err != nil || n2.asked(wire.OpPut) != 1 {
		t.Errorf("%v with %d puts at the other node, want one", err, n2.asked(wire.OpPut))
	}
}

// An input that breaks off, or is not as long as announced, stores nothing.
func TestPutOfBrokenInput(t *testing.T) {
	broken := errors.New("disk on fire")
	data := randomBytes(400_000)
	for name, tc := range map[string]struct {
		r      io.Reader
		length int64
		want   string
	}{
		"broken": {io.MultiReader(bytes.NewReader(data), &failing{broken}), -1, "disk on fire"},
		"short":  {bytes.NewReader(data), int64(len(data)) + 1, "announced"},
		"long":   {bytes.NewReader(data), int64(len(data)) - 1, "announced"},
	} {
		t.Run(name, func(t *testing.T) {
			cell := newFakeCell()
			n := cell.node(t, "n1")
			c := newClient(t, 3, n)
			_, err := c.Put(t.Context(), tc.r, PutOptions{Length: tc.length})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v, want %q", err, tc.want)
			}
			c.Close()
			n.kill() // its handlers have returned
			if len(cell.stored(1)) != 0 {
				t.Fatalf("%d bytes were stored, want none", len(cell.stored(1)))
			}
		})
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// A submit whose reply is lost is asked again, and run once.
func TestSubmitIsRunOnce(t *testing.T) {
	cell := newFakeCell()
	n1, n2 := cell.node(t, "n1"), cell.node(t, "n2")
	var lost atomic.Bool
	n1.set(nil, func(c *mux.ServerCall) bool {
		return c.Op() == wire.OpSubmit && lost.CompareAndSwap(false, true)
	})
	c := newClient(t, 100, n1, n2)
	ops := make([]wire.Submission, submitAtOnce+3)
	for i := range ops {
		ops[i] = wire.Submission{Kind: "delete", Extent: uint64(i + 1)}
	}
	got, err := c.Submit(t.Context(), ops, SubmitOptions{})
	if err != nil || len(got) != len(ops) || !lost.Load() {
		t.Fatalf("%d answers, %v, reply lost: %t", len(got), err, lost.Load())
	}
	seen := map[string]bool{}
	for i, s := range got {
		if s.Extent != uint64(i+1) || seen[s.Op] || Refusal(s) != nil {
			t.Fatalf("answer %d is %+v, want that of extent %d and an operation of its own", i, s, i+1)
		}
		seen[s.Op] = true
	}
	if cell.admitted() != len(ops) {
		t.Fatalf("%d operations were admitted for %d submissions", cell.admitted(), len(ops))
	}
}

// A session that expired while nobody used it is replaced; one that expired in the middle is not.
func TestExpiredSession(t *testing.T) {
	cell := newFakeCell()
	n1 := cell.node(t, "n1")
	c := newClient(t, 100, n1)
	submit := func() error {
		_, err := c.Submit(t.Context(), []wire.Submission{{Kind: "delete", Extent: 1}}, SubmitOptions{})
		return err
	}
	if err := submit(); err != nil {
		t.Fatal(err)
	}
	cell.expire()
	if err := submit(); err != nil {
		t.Fatalf("%v, want another session and success", err)
	}
	n1.set(nil, func(c *mux.ServerCall) bool {
		if c.Op() != wire.OpSubmit {
			return false
		}
		n1.set(nil, nil)
		cell.expire()
		return true
	})
	err := submit()
	if wire.CodeOf(err) != wire.CodeSession || wire.OutcomeOf(err) != wire.Unknown {
		t.Fatalf("%v, want a session error of unknown outcome", err)
	}
	if cell.admitted() != 3 {
		t.Fatalf("%d operations, want 3: none may be run twice", cell.admitted())
	}
	if err := submit(); err != nil {
		t.Fatalf("%v: the next submit should have a session of its own", err)
	}
}

func TestDryRunOpensNoSession(t *testing.T) {
	cell := newFakeCell()
	n := cell.node(t, "n1")
	got, err := newClient(t, 1, n).Submit(t.Context(), []wire.Submission{{Kind: "delete"}}, SubmitOptions{DryRun: true})
	if err != nil || len(got) != 1 || got[0].Plan != "delete" || n.asked(wire.OpSession) != 0 {
		t.Fatalf("%+v, %v, %d sessions opened; want a plan and none", got, err, n.asked(wire.OpSession))
	}
}

func TestWaitAndLists(t *testing.T) {
	cell := newFakeCell()
	c := newClient(t, 100, cell.node(t, "n1"))
	ops := make([]wire.Submission, 5)
	for i := range ops {
		ops[i] = wire.Submission{Kind: "delete", Extent: uint64(i + 1)}
		cell.extents[uint64(i+1)*10] = nil
	}
	submitted, err := c.Submit(t.Context(), ops, SubmitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range submitted {
		ids = append(ids, s.Op)
	}
	rounds := 0
	ended, err := c.Wait(t.Context(), ids, func(ops []wire.Op) {
		if rounds++; len(ops) != len(ids) {
			t.Errorf("told of %d operations, want %d", len(ops), len(ids))
		}
	})
	if err != nil || rounds != len(ids) {
		t.Fatalf("%v after %d rounds, want one for each of %d", err, rounds, len(ids))
	}
	for i, op := range ended {
		if op.ID != ids[i] || op.State != "done" {
			t.Errorf("operation %d is %s %s, want %s done", i, op.ID, op.State, ids[i])
		}
	}
	var listed, extents []string
	for op, err := range c.Ops(t.Context(), wire.OpsRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, op.ID)
	}
	for e, err := range c.Extents(t.Context(), wire.ExtentsRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		extents = append(extents, fmt.Sprint(e.ID))
	}
	if fmt.Sprint(listed) != fmt.Sprint(ids) || fmt.Sprint(extents) != "[10 20 30 40 50]" {
		t.Fatalf("listed operations %v and extents %v, want %v and all five extents, over several pages", listed, extents,
			ids)
	}
}

// What a client has submitted, it finds at every node: it says how far the node must be.
func TestReadsItsOwnWrites(t *testing.T) {
	cell := newFakeCell()
	n := cell.node(t, "n1")
	c := newClient(t, 1, n)
	submitted, err := c.Submit(t.Context(), []wire.Submission{{Kind: "delete"}}, SubmitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var asked uint64
	n.set(func(_ context.Context, c *mux.ServerCall) error {
		asked = c.MinIndex()
		return nil
	}, nil)
	for _, err := range c.Ops(t.Context(), wire.OpsRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(asked) != submitted[0].Op {
		t.Fatalf("asked for index %d, want %s", asked, submitted[0].Op)
	}
}

func TestPolicyLoadAndSetting(t *testing.T) {
	c := newClient(t, 1, newFakeCell().node(t, "n1"))
	p, err := c.PolicyLoad(t.Context(), randomBytes(700_000))
	if err != nil || p.Bytes != 700_000 {
		t.Fatalf("%+v, %v; want 700000 bytes loaded", p, err)
	}
	if err := c.SetSetting(t.Context(), "replicas", "2"); err != nil {
		t.Fatal(err)
	}
}

// A caller who gives up gets an answer at once, and the client remains of use.
func TestCancelledCall(t *testing.T) {
	cell := newFakeCell()
	n := cell.node(t, "n1")
	entered := make(chan struct{})
	n.set(func(ctx context.Context, c *mux.ServerCall) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}, nil)
	c := newClient(t, 3, n)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want the context's error", err)
	}
	n.set(nil, nil)
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Close ends a dial that hangs, and what is asked afterwards.
func TestCloseEndsDial(t *testing.T) {
	dialing := make(chan struct{})
	c := New(Options{DialTimeout: time.Hour, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		close(dialing)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	done := make(chan error, 1)
	go func() {
		_, err := c.Status(t.Context())
		done <- err
	}()
	<-dialing
	c.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Fatalf("%v, want %v", err, ErrClosed)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatalf("%v, want %v", err, ErrClosed)
	}
}

// A node that says when to ask again is asked then, and not before; what it says is no reason to wait for ever.
func TestRetryAfterIsKeptTo(t *testing.T) {
	for _, c := range []struct{ said, from, to time.Duration }{
		{0, firstPause, firstPause},
		{700 * time.Millisecond, 700 * time.Millisecond, 1400 * time.Millisecond},
		{2 * time.Hour, longestRetryAfter, 2 * longestRetryAfter},
	} {
		node := newFakeCell().node(t, "n1")
		asked := 0
		node.set(func(context.Context, *mux.ServerCall) error {
			if asked++; asked > 1 {
				return nil
			}
			e := wire.Errorf(wire.OpStatus, wire.CodeExhausted, "too much")
			e.RetryAfter = c.said
			return e
		}, nil)
		client := newClient(t, 9, node)
		var pauses []time.Duration
		after := client.opts.Clock.AfterFunc
		client.opts.Clock.AfterFunc = func(d time.Duration, f func()) func() bool {
			pauses = append(pauses, d)
			return after(d, f)
		}
		if _, err := client.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(pauses) != 1 || pauses[0] < c.from || pauses[0] > c.to {
			t.Errorf("told to ask again after %s, it waited %s, want %s to %s", c.said, pauses, c.from, c.to)
		}
	}
}
