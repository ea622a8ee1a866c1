package node

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/node/folder"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire/client"
)

// sumFolder is a line for each file in a folder.
func sumFolder(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%s %x\n", path, sha256.Sum256(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// killAll stops all nodes and answers their folders by ID.
func (c *cell) killAll() map[string]string {
	dirs := map[string]string{}
	for id := range c.nodes {
		dirs[id] = c.configs[id].Dir
	}
	for id := range dirs {
		c.kill(id)
	}
	return dirs
}

// recovered is the record of the last recovery in a node's log, nil for none.
func (c *cell) recovered(id string) *state.Recovered {
	c.t.Helper()
	var found *state.Recovered
	err := c.nodes[id].log.Entries(0, 1<<62, func(e raftlog.EntryInfo) bool {
		for _, cmd := range e.Commands {
			if r, ok := cmd.(*state.Recovered); ok {
				found = r
			}
		}
		return true
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return found
}

func plan(t *testing.T, o RecoverOptions) *Recovery {
	t.Helper()
	o.Now = time.Now()
	p, err := PlanRecovery(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Two of three voters are lost for good. The third goes on alone, with all that it had, and others join it. A lost one
// that comes back with its folder follows; two of them, which are a majority of the votes of before, are not listened
// to.
func TestRecoverFewerVoters(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.sealed(pattern(1, appendPiece+1))
	dirs := c.killAll()
	before := sumFolder(t, dirs["n1"])
	o := RecoverOptions{Dirs: []string{dirs["n1"]}, Voters: []string{"n1"}, Note: "by a test"}
	p := plan(t, o)
	if after := sumFolder(t, dirs["n1"]); after != before {
		t.Fatalf("a plan changed the folder:\n%s\n%s", before, after)
	}
	if text := strings.Join(p.Steps, "\n"); !strings.Contains(text, "n2, n3 lose their vote") || p.Confirm != "n1" {
		t.Errorf("the plan says: %s", text)
	}
	if err := p.Carry(); err != nil {
		t.Fatal(err)
	}
	c.start("n1")
	c.ready("n1")
	rec := c.recovered("n1")
	if rec == nil || !rec.Lossy || len(rec.Members) != 1 || len(rec.Before) != 3 || rec.Note != "by a test" {
		t.Fatalf("the record of the recovery: %+v", rec)
	}
	if got, err := c.get(loc, "n1"); err != nil || len(got) != int(loc.Length) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	era := c.nodes["n1"].folder.Era()
	if view := c.nodes["n1"].log.View(); era == 0 || view.Era != era || view.Node("n2").Voter {
		t.Errorf("era %d, in the folder %d, n2 %s", view.Era, era, view.Node("n2"))
	}

	// The old majority comes back, to itself: the addresses of the others are still in its logs.
	for _, id := range []string{"n2", "n3"} {
		cfg := c.configs[id]
		cfg.Join, cfg.Bootstrap = nil, nil
		c.configs[id] = cfg
		c.start(id)
	}
	refused := func(id string) error {
		return c.nodes["n1"].transport.JudgeStream(
			transport.Hello{Cell: c.nodes["n1"].folder.Cell(), Node: id}, transport.Caller{})
	}
	oneLine(t, refused("n2"), "recovered with entry")
	if c.nodes["n1"].log.View().Era != era || !c.nodes["n1"].log.IsLeader() {
		t.Error("n1 no longer leads what it recovered")
	}
}

// A survivor that is behind follows, and new nodes fill the places.
func TestRecoverThenGrow(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	c.kill("n3")
	c.down("n3")
	loc := c.sealed(pattern(1, appendPiece+1)) // that n3 knows nothing of
	dirs := c.killAll()
	dirs["n3"] = c.configs["n3"].Dir
	for _, o := range []struct {
		o     RecoverOptions
		words []string
	}{
		{RecoverOptions{Dirs: []string{dirs["n3"]}, Voters: []string{"n1", "n3"}}, []string{"no folder of n1", "--dir"}},
		{RecoverOptions{Dirs: []string{dirs["n3"], dirs["n4"]}, Voters: []string{"n3"}},
			[]string{"the log of n4 is newer", "with n4 among them"}},
		{RecoverOptions{Dirs: []string{dirs["n1"], dirs["n1"]}, Voters: []string{"n1"}}, []string{"both of node n1"}},
		{RecoverOptions{Dirs: []string{t.TempDir()}, Voters: []string{"n1"}}, []string{"no data folder"}},
		{RecoverOptions{Dirs: []string{dirs["n1"]}, Addresses: []Peer{{"n9", "127.0.0.1:1"}}}, []string{"no node n9"}},
		{RecoverOptions{Dirs: []string{dirs["n1"]}, Addresses: []Peer{{"n1", c.configs["n2"].Listen}}},
			[]string{"would both be at"}},
		{RecoverOptions{Dirs: []string{dirs["n1"]},
			Addresses: []Peer{{"n1", c.configs["n2"].Listen}, {"n2", c.configs["n1"].Listen}}},
			[]string{"takes the address of another"}},
	} {
		_, err := PlanRecovery(o.o)
		oneLine(t, err, o.words...)
	}
	// n4 never had a vote, and is what is left beside n3, which was away.
	p := plan(t, RecoverOptions{Dirs: []string{dirs["n3"], dirs["n4"]}, Voters: []string{"n4"}})
	if text := strings.Join(p.Steps, "\n"); !strings.Contains(text, "n3 has nothing that n4 has not") {
		t.Errorf("the plan says: %s", text)
	}
	if err := p.Carry(); err != nil {
		t.Fatal(err)
	}
	c.start("n4")
	c.ready("n4")
	cfg := c.configs["n3"]
	cfg.Join, cfg.Bootstrap = []string{c.configs["n4"].Listen}, nil
	c.configs["n3"] = cfg
	c.start("n3")
	c.ready("n3")
	c.startNew("n5", "127.0.0.1:0")
	c.whole()
	if _, err := c.get(loc, ""); err != nil {
		t.Error(err)
	}
	c.put(pattern(2, 1000))
	c.until("three votes", func(n *Node) bool {
		votes := 0
		for _, d := range c.describeNodes(n) {
			if d.Voter {
				votes++
			}
		}
		return votes == 3
	})
}

// All nodes move at once, and nothing is lost, not even what only a majority has.
func TestRecoverAddresses(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	c.kill("n1")
	c.down("n1")
	loc := c.sealed(pattern(1, appendPiece+1)) // that n1 knows nothing of
	dirs := c.killAll()
	dirs["n1"] = c.configs["n1"].Dir
	var moves []Peer
	listeners := map[string]net.Listener{}
	for id := range dirs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[id] = l
		moves = append(moves, Peer{ID: id, Addr: l.Addr().String()})
	}
	for id, dir := range dirs {
		before := sumFolder(t, dir)
		p := plan(t, RecoverOptions{Dirs: []string{dir}, Addresses: moves})
		if after := sumFolder(t, dir); after != before {
			t.Fatalf("a plan changed the folder of %s", id)
		}
		if err := p.Carry(); err != nil {
			t.Fatal(err)
		}
	}
	for id := range dirs {
		cfg := c.configs[id]
		cfg.Listener, cfg.Listen = listeners[id], listeners[id].Addr().String()
		c.configs[id] = cfg
		c.start(id)
	}
	for id := range dirs {
		c.ready(id)
	}
	c.up(4)
	c.until("all know the addresses", func(n *Node) bool {
		for _, m := range moves {
			if n.log.View().Node(state.NodeID(m.ID)).Addr != m.Addr {
				return false
			}
		}
		return true
	})
	for id, n := range c.nodes {
		c.untilTrue(id+" has the addresses in its log", func() bool {
			_, err := os.Stat(filepath.Join(dirs[id], folder.MovesFile))
			return os.IsNotExist(err)
		})
		if _, now, err := n.log.Moved(); err != nil || len(now) > 0 {
			t.Errorf("%s: %v, %v", id, now, err)
		}
		if rec := c.recovered(id); rec == nil || rec.Lossy || len(rec.Members) != 4 {
			t.Errorf("the record in the log of %s: %+v", id, rec)
		}
	}
	c.client.Close()
	c.client = client.New(client.Options{Addrs: []string{c.nodes["n2"].Addr()}, Name: t.Name()})
	if _, err := c.get(loc, ""); err != nil {
		t.Error(err)
	}
	// Without the file too: they are in the log.
	c.kill("n2")
	c.start("n2")
	c.ready("n2")
}
