package node

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// oneLine fails unless err is of the code and its text is one line that has all the words.
func oneLine(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one about %q", words)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// refused starts a node that must not start, or must stop by itself, and returns why.
func refused(t *testing.T, cfg Config) error {
	t.Helper()
	cfg.Listener = nil
	n, err := Start(t.Context(), cfg)
	if err != nil {
		return err
	}
	defer n.Close()
	select {
	case <-n.Done():
		return n.Err()
	case <-n.Ready():
		t.Fatal("the node serves")
	case <-testContext(t).Done():
		t.Fatal("the node is not refused in time")
	}
	return nil
}

// Folders that are not this node's are refused, before anything is changed in them.
func TestWrongFolder(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 1)
	other := newCell(t, 1, 1)

	cfg := c.configs["n2"]
	cfg.ID, cfg.Listen = "n7", "127.0.0.1:0"
	oneLine(t, refused(t, cfg), "belongs to node n2", "--dir")

	cfg = c.configs["n2"]
	cfg.Listen = "127.0.0.1:0"
	if err := refused(t, cfg); !strings.Contains(err.Error(), "in use") && !strings.Contains(err.Error(), "lock") {
		t.Errorf("a second node on one folder: %v", err)
	}

	cfg.Dir, cfg.Listen = t.TempDir(), c.nodes["n1"].Addr()
	oneLine(t, refused(t, cfg), "cannot listen", "--listen")

	// A folder of the other cell.
	other.kill("n2")
	other.kill("n1")
	cfg = other.configs["n2"]
	cfg.Listen, cfg.Join = "127.0.0.1:0", []string{c.nodes["n1"].Addr()}
	if err := refused(t, cfg); !strings.Contains(err.Error(), "belongs to cell") {
		t.Errorf("a folder of another cell: %v", err)
	}

	cfg = Config{ID: "n9", Dir: t.TempDir(), Listen: "127.0.0.1:0"}
	oneLine(t, refused(t, cfg), "--bootstrap", "--join")
}

// A node that returns with an empty folder must not count as holding what it held.
func TestEmptyFolderUnderOldID(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	c.sealed(pattern(1, appendPiece+1))
	c.run(wire.Submission{Kind: "create", Replicas: []string{"n4"}, Want: 1})
	for _, id := range []string{"n1", "n4"} {
		c.kill(id)
		cfg := c.configs[id]
		cfg.Dir = t.TempDir()
		cfg.Bootstrap, cfg.Join = nil, []string{c.any().Addr()}
		if err := refused(t, cfg); !strings.Contains(err.Error(), "empty") {
			t.Errorf("%s: %v", id, err)
		}
		c.start(id)
		c.ready(id)
	}
	c.whole()
}

// A voter whose folder was emptied has no vote until its cell has let it in: it may have acknowledged
// entries that it lost. With it, the only other voter that is up would have a majority.
func TestEmptiedVoterDoesNotVote(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	bootstrap := c.configs["n1"].Bootstrap
	c.kill("n1")
	c.kill("n2")
	// While n3 still leads, it would refuse n1 by name, which is right, but not what is tested here.
	c.untilTrue("n3 has no leader", func() bool { id, _ := c.nodes["n3"].log.Leader(); return id == "" })
	refusals := make(chan struct{}, 1000)
	cfg := c.configs["n1"]
	cfg.Dir, cfg.Bootstrap = t.TempDir(), bootstrap
	cfg.Logger = slog.New(slog.NewTextHandler(refusalCounter{refusals}, nil))
	n1, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n1.Close()
	for range 5 {
		select {
		case <-refusals:
		case <-time.After(patience):
			t.Fatal("n1 takes part in the log of a cell that has not let it in")
		}
	}
	if id, _ := c.nodes["n3"].log.Leader(); id != "" {
		t.Fatalf("%s leads, by the vote of an emptied voter", id)
	}
	c.start("n2")
	select {
	case <-n1.Done():
		oneLine(t, n1.Err(), "empty")
	case <-time.After(patience):
		t.Fatal("n1 was let in")
	}
}

// refusalCounter is a log that sends a token for each raft stream refused to an empty folder.
type refusalCounter struct{ tokens chan<- struct{} }

func (r refusalCounter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "has not let this empty folder in") {
		select {
		case r.tokens <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// A node comes back at another address, at once.
func TestOtherPort(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.sealed(pattern(1, appendPiece+1))
	c.kill("n3")
	c.startElsewhere("n3")
	c.whole()
	if _, err := c.get(loc, "n3"); err != nil {
		t.Error(err)
	}
	c.verified(loc.Extent, 3)
}

// A node comes back at another address and leads the cell before the cell knows its new one.
func TestOtherPortOfALeader(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	loc := c.put(pattern(1, 100))
	c.kill("n1")
	c.startElsewhere("n1")
	var got bytes.Buffer
	if err := c.readVia("n1", loc, &got); err != nil || !bytes.Equal(got.Bytes(), pattern(1, 100)) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}

// startElsewhere starts a node at another address than it had.
func (c *cell) startElsewhere(id string) {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := c.configs[id]
	cfg.Listener, cfg.Listen = l, l.Addr().String()
	c.configs[id] = cfg
	c.start(id)
	c.ready(id)
}

func (c *cell) mode(id string, want state.NodeMode) {
	c.t.Helper()
	c.until(id+" is "+want.String(), func(n *Node) bool { return n.log.View().Node(state.NodeID(id)).Mode == want })
}

func (c *cell) submit(o client.SubmitOptions, sub wire.Submission) wire.Submitted {
	c.t.Helper()
	res, err := c.client.Submit(testContext(c.t), []wire.Submission{sub}, o)
	if err != nil {
		c.t.Fatal(err)
	}
	return res[0]
}

// A decommission that could not end is refused with the reason. Forced, it waits for room, says so,
// and can be taken back.
func TestDecommissionWithoutRoom(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.sealed(pattern(1, appendPiece+1))
	sub := wire.Submission{Kind: "decommission", Node: "n3"}
	res := c.submit(client.SubmitOptions{}, sub)
	if res.Code != wire.CodePrecondition {
		t.Fatalf("%+v", res)
	}
	oneLine(t, client.Refusal(res), "n3 cannot be emptied", "--force")
	if res = c.submit(client.SubmitOptions{Force: true}, sub); res.Code != 0 {
		t.Fatalf("forced: %s", res.Detail)
	}
	c.mode("n3", state.ModeDecommissioning)
	if o, err := c.client.Op(testContext(t), res.Op); err != nil || !strings.Contains(o.Steps[0].Note, "by force") {
		t.Fatalf("the log does not say that it was forced: %+v, %v", o.Steps, err)
	}
	c.until("it says what blocks it", func(n *Node) bool {
		for _, d := range c.describeNodes(n) {
			if d.ID == "n3" && strings.Contains(d.Blocked, "no node that is up can take the replica") {
				return true
			}
		}
		return false
	})
	if _, err := c.client.Cancel(testContext(t), res.Op); err != nil {
		t.Fatal(err)
	}
	c.mode("n3", state.ModeActive)
	c.until("its moves are cancelled", func(n *Node) bool { return n.log.View().Counts().Queued == 0 })
	c.verified(loc.Extent, 3)
}

// The leader itself is decommissioned: it hands on the leadership, its replicas and its vote. Taken
// back, it holds replicas again.
func TestDecommissionLeaderAndBack(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	loc := c.sealed(pattern(1, appendPiece+1))
	id := c.leader()
	if ops := c.run(wire.Submission{Kind: "decommission", Node: id}); ops[0].State != "done" {
		t.Fatalf("decommission is %s: %s", ops[0].State, ops[0].Detail)
	}
	c.mode(id, state.ModeDecommissioned)
	if now := c.leader(); now == id {
		t.Errorf("%s still leads", id)
	}
	voters := 0
	for _, d := range c.describeNodes(c.any()) {
		if d.Voter {
			voters++
		}
	}
	if voters != 3 {
		t.Errorf("%d voters", voters)
	}
	c.verified(loc.Extent, 3)
	if ops := c.run(wire.Submission{Kind: "recommission", Node: id}); ops[0].State != "done" {
		t.Fatalf("recommission is %s: %s", ops[0].State, ops[0].Detail)
	}
	c.mode(id, state.ModeActive)
	ops := c.run(wire.Submission{Kind: "create", Replicas: []string{id}, Want: 1})
	if ops[0].State != "done" {
		t.Errorf("create on %s is %s: %s", id, ops[0].State, ops[0].Detail)
	}
}

// Without a quorum nothing is decided, and a submit says why in a line. What a node has it still serves.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.sealed(pattern(1, appendPiece+1))
	c.kill("n1")
	c.kill("n2")
	impatient := client.New(client.Options{Addrs: []string{c.nodes["n3"].Addr()}, RetryFor: time.Millisecond})
	defer impatient.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := impatient.Submit(ctx, []wire.Submission{{Kind: "delete", Extent: loc.Extent}}, client.SubmitOptions{})
	if wire.CodeOf(err) != wire.CodeUnavailable {
		t.Errorf("submit without a quorum: %v", err)
	}
	oneLine(t, err, "try again")
	if got, err := c.get(loc, "n3"); err != nil || len(got) != int(loc.Length) {
		t.Errorf("read of what n3 holds: %d bytes, %v", len(got), err)
	}
	c.start("n1")
	c.ready("n1")
	if ops := c.run(wire.Submission{Kind: "delete", Extent: loc.Extent}); ops[0].State != "done" {
		t.Errorf("with a quorum again, the delete is %s: %s", ops[0].State, ops[0].Detail)
	}
}
