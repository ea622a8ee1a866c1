package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

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
	must(t, r.store(t.Context()))
	processes[3].start()
	r.nodesUp(t, 4)
	r.strike(t, processes[1])
	must(t, r.recovered(t.Context()))
	must(t, r.cell.awaitNodes(t.Context(), "every node to confirm its drops", func(n wire.Node) bool {
		return n.State == "up" && n.Dropping == 0
	}))
	must(t, r.inspect(t.Context()))
	r.judge(t)
	r.askTheCommandLine(t)
	for _, p := range processes {
		p.signal(syscall.SIGTERM)
	}
	for _, p := range processes {
		if state := p.wait(); state.ExitCode() != exitDone {
			t.Errorf("%s ended with %s after SIGTERM, want exit code %d", p.id, state, exitDone)
		}
	}
	r.noFileLeft(t)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// e2e is the demo's replay with nodes in other processes.
type e2e struct {
	*replay
	notes watcher
}

func newE2E(t *testing.T, processes []*nodeProcess) *e2e {
	r := &e2e{}
	d := demonstration{files: e2eFiles, nodes: 3}
	found, err := d.collect(t.Context())
	must(t, err)
	cell := &demoCell{clients: map[string]*client.Client{}}
	for i, p := range processes {
		var addrs []string
		for k := range processes {
			addrs = append(addrs, processes[(i+k)%len(processes)].addr)
		}
		cell.cfgs = append(cell.cfgs, node.Config{ID: p.id, Dir: p.dir, Listen: p.addr})
		cell.clients[p.id] = client.New(client.Options{Addrs: addrs, ConnectFor: processLimit, RetryFor: processLimit})
	}
	t.Cleanup(cell.close)
	a := &app{stdout: &r.notes, stderr: &r.notes, env: noEnv}
	r.replay = &replay{a: a, d: d, cell: cell, packages: regroup(found)}
	return r
}

// regroup makes groups of e2ePerGroup files, of three classes.
func regroup(found []*demoPackage) []*demoPackage {
	var groups []*demoPackage
	n := 0
	for _, p := range found {
		for _, f := range p.files {
			if n%e2ePerGroup == 0 {
				class := []string{"", "gold", "cold"}[len(groups)%3]
				groups = append(groups, &demoPackage{class: class})
			}
			g := groups[len(groups)-1]
			g.files = append(g.files, f)
			n++
		}
	}
	return groups
}

func (r *e2e) nodesUp(t *testing.T, want int) {
	t.Helper()
	must(t, await(t.Context(), "the nodes to come up", func() (bool, string, error) {
		nodes, err := r.cell.client(devID(0)).Nodes(t.Context())
		up := 0
		for _, n := range nodes {
			if n.State == "up" {
				up++
			}
		}
		return up == want, count(up), err
	}))
}

// strike does at once what the test is about, and starts the killed node again.
func (r *e2e) strike(t *testing.T, killed *nodeProcess) {
	t.Helper()
	for i, p := range r.packages {
		p.deleted = i%2 == 0
	}
	done := make(chan error, 3)
	go func() { done <- r.decommission(t.Context()) }()
	go func() { done <- r.delete(t.Context(), []string{"", "move"}) }()
	go func() { done <- r.seal(t.Context()) }()
	killed.signal(syscall.SIGKILL)
	if state := killed.wait(); state.Success() {
		t.Errorf("%s ended with %s, it should have been killed", killed.id, state)
	}
	killed.start()
	for range 3 {
		must(t, <-done)
	}
	ops, err := r.cell.client(devID(0)).Wait(t.Context(), r.deletes, nil)
	must(t, err)
	must(t, opsError(ops))
}

// judge holds what was found against what there should be.
func (r *e2e) judge(t *testing.T) {
	t.Helper()
	for _, text := range r.found.first {
		t.Errorf("found: %s", text)
	}
	got := r.account
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
	addr := r.cell.cfgs[0].Listen
	for _, cfg := range r.cell.cfgs {
		if code, _ := cli(t, addr, "log", "verify", "--node", cfg.ID); code != exitDone {
			t.Errorf("log verify of %s: exit code %d", cfg.ID, code)
		}
	}
	if code, out := cli(t, addr, "log", "diff", "-o", "json"); code != exitDone || strings.Count(out, `"same": true`) != 4 {
		t.Errorf("log diff: exit code %d, and not four times the same:\n%s", code, out)
	}
	code, out := cli(t, addr, "node", "ls", "-o", "json")
	var nodes []wire.Node
	if err := json.Unmarshal([]byte(out), &nodes); err != nil || code != exitDone || len(nodes) != 4 {
		t.Fatalf("node ls: exit code %d, %v, %d nodes", code, err, len(nodes))
	}
	for _, n := range nodes {
		if leaving := n.ID == demoLeaving; n.SafeRemove != leaving || n.Voter == leaving {
			t.Errorf("%s: safe to remove %t, voter %t", n.ID, n.SafeRemove, n.Voter)
		}
	}
}

// noFileLeft walks the folders when nobody runs any more, without the demo's own eyes.
func (r *e2e) noFileLeft(t *testing.T) {
	t.Helper()
	for _, cfg := range r.cell.cfgs {
		for _, p := range r.packages {
			_, err := os.Stat(extentPath(cfg.Dir, p.extent))
			if gone := os.IsNotExist(err); !gone && (p.deleted || cfg.ID == demoLeaving) {
				t.Errorf("%s has a file of extent %d (deleted: %t)", cfg.ID, p.extent, p.deleted)
			} else if gone && !p.deleted && cfg.ID != demoLeaving {
				t.Errorf("%s has no file of extent %d", cfg.ID, p.extent)
			}
		}
	}
}
