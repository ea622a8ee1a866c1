package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/demo"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

const (
	e2eFiles    = 1000
	e2ePerGroup = 10 // files of one extent
)

// TestProcesses is the founding failure with real processes: three nodes and one that joins later, a
// thousand real files, half of them deleted while one node is decommissioned and another is killed.
func TestProcesses(t *testing.T) {
	processes := newProcesses(t, 4, 3)
	for _, p := range processes[:3] {
		p.start()
	}
	r := newE2E(t, processes)
	r.nodesUp(t, 3)
	clitest.Must(t, r.Store(t.Context()))
	processes[3].start()
	r.nodesUp(t, 4)
	r.strike(t, processes[1])
	clitest.Must(t, r.Recovered(t.Context()))
	clitest.Must(t, r.Cell.AwaitNodes(t.Context(), "every node to confirm its drops", func(n wire.Node) bool {
		return n.State == "up" && n.Dropping == 0
	}))
	clitest.Must(t, r.Inspect(t.Context()))
	r.judge(t)
	r.askTheCommandLine(t)
	for _, p := range processes {
		p.signal(syscall.SIGTERM)
	}
	for _, p := range processes {
		if state := p.wait(); state.ExitCode() != exit.Done {
			t.Errorf("%s ended with %s after SIGTERM, want exit code %d", p.id, state, exit.Done)
		}
	}
	r.noFileLeft(t)
}

// e2e is the demo's replay with nodes in other processes.
type e2e struct {
	*demo.Replay
	notes clitest.Watcher
}

func newE2E(t *testing.T, processes []*nodeProcess) *e2e {
	r := &e2e{}
	d := demo.Options{Files: e2eFiles, Nodes: 3}
	found, err := d.Collect(t.Context())
	clitest.Must(t, err)
	cell := &local.Cell{Clients: map[string]*client.Client{}}
	for i, p := range processes {
		var addrs []string
		for k := range processes {
			addrs = append(addrs, processes[(i+k)%len(processes)].addr)
		}
		cell.Configs = append(cell.Configs, node.Config{ID: p.id, Dir: p.dir, Listen: p.addr})
		cell.Clients[p.id] = client.New(client.Options{Addrs: addrs, ConnectFor: processLimit, RetryFor: processLimit})
	}
	t.Cleanup(cell.Close)
	a := cli.New(nil, &r.notes, &r.notes, clitest.NoEnv)
	r.Replay = &demo.Replay{App: a, Options: d, Cell: cell, Packages: regroup(found)}
	return r
}

// regroup makes groups of e2ePerGroup files, of three classes.
func regroup(found []*demo.Package) []*demo.Package {
	var groups []*demo.Package
	n := 0
	for _, p := range found {
		for _, f := range p.Files {
			if n%e2ePerGroup == 0 {
				class := []string{"", "gold", "cold"}[len(groups)%3]
				groups = append(groups, &demo.Package{Class: class})
			}
			g := groups[len(groups)-1]
			g.Files = append(g.Files, f)
			n++
		}
	}
	return groups
}

func (r *e2e) nodesUp(t *testing.T, want int) {
	t.Helper()
	clitest.Must(t, local.Await(t.Context(), "the nodes to come up", func() (bool, string, error) {
		nodes, err := r.Cell.Client(local.ID(0)).Nodes(t.Context())
		up := 0
		for _, n := range nodes {
			if n.State == "up" {
				up++
			}
		}
		return up == want, term.Count(up), err
	}))
}

// strike does at once what the test is about, and starts the killed node again.
func (r *e2e) strike(t *testing.T, killed *nodeProcess) {
	t.Helper()
	for i, p := range r.Packages {
		p.Deleted = i%2 == 0
	}
	done := make(chan error, 3)
	go func() { done <- r.Decommission(t.Context()) }()
	go func() { done <- r.Delete(t.Context(), []string{"", "move"}) }()
	go func() { done <- r.Seal(t.Context()) }()
	killed.signal(syscall.SIGKILL)
	if state := killed.wait(); state.Success() {
		t.Errorf("%s ended with %s, it should have been killed", killed.id, state)
	}
	killed.start()
	for range 3 {
		clitest.Must(t, <-done)
	}
	ops, err := r.Cell.Client(local.ID(0)).Wait(t.Context(), r.Deletes, nil)
	clitest.Must(t, err)
	clitest.Must(t, cli.OpsError(ops))
}

// judge compares what was found with what there should be.
func (r *e2e) judge(t *testing.T) {
	t.Helper()
	for _, text := range r.Found.First {
		t.Errorf("found: %s", text)
	}
	got := r.Account
	if got.Files != e2eFiles || got.Kept != e2eFiles/2 || got.Deleted != e2eFiles/2/e2ePerGroup || got.Disks != 4 {
		t.Errorf("the account is %+v", got)
	}
	if want := 3 * got.Kept; got.Read != want {
		t.Errorf("%d replicas were read, want %d of each file", got.Read, 3)
	}
}

// askTheCommandLine asks as an operator would.
func (r *e2e) askTheCommandLine(t *testing.T) {
	t.Helper()
	addr := r.Cell.Configs[0].Listen
	for _, cfg := range r.Cell.Configs {
		if code, _ := command(t, addr, "log", "verify", "--node", cfg.ID); code != exit.Done {
			t.Errorf("log verify of %s: exit code %d", cfg.ID, code)
		}
	}
	if code, out := command(t, addr, "log", "diff", "-o", "json"); code != exit.Done ||
		strings.Count(out, `"same": true`) != 4 {
		t.Errorf("log diff: exit code %d, and not four times the same:\n%s", code, out)
	}
	code, out := command(t, addr, "node", "ls", "-o", "json")
	var nodes []wire.Node
	if err := json.Unmarshal([]byte(out), &nodes); err != nil || code != exit.Done || len(nodes) != 4 {
		t.Fatalf("node ls: exit code %d, %v, %d nodes", code, err, len(nodes))
	}
	for _, n := range nodes {
		if leaving := n.ID == demo.Leaving; n.SafeRemove != leaving || n.Voter == leaving {
			t.Errorf("%s: safe to remove %t, voter %t", n.ID, n.SafeRemove, n.Voter)
		}
	}
}

// noFileLeft walks the folders when nobody runs any more, without the demo's own eyes.
func (r *e2e) noFileLeft(t *testing.T) {
	t.Helper()
	for _, cfg := range r.Cell.Configs {
		for _, p := range r.Packages {
			_, err := os.Stat(clitest.ExtentPath(cfg.Dir, p.Extent))
			if gone := os.IsNotExist(err); !gone && (p.Deleted || cfg.ID == demo.Leaving) {
				t.Errorf("%s has a file of extent %d (deleted: %t)", cfg.ID, p.Extent, p.Deleted)
			} else if gone && !p.Deleted && cfg.ID != demo.Leaving {
				t.Errorf("%s has no file of extent %d", cfg.ID, p.Extent)
			}
		}
	}
}
