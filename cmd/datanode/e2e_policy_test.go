package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// orderTaker is the one node that can take a replica of the extents of this test. While it is down
// their repairs wait, and when it returns all of them could start.
const orderTaker = "n3"

// A policy decides what starts first. The same six repairs wait for the same node under two policies,
// and the log says in which order they started. Three are of gold extents that lack one replica, three
// of others that lack two: one policy looks at the class, and at another when it is configured so, the
// other at what is lacking.
func TestPolicyChangesTheOrder(t *testing.T) {
	cell := startPolicyCell(t)
	o := ordering{t: t, cell: cell, c: cell.Client(local.ID(0))}
	clitest.Must(t, o.c.SetSetting(t.Context(), "max-running", "1"))

	gold := o.load("gold-class-first", nil)
	order, first := o.race(gold)
	if want := "gold gold gold plain plain plain"; order != want {
		t.Errorf("under %s they started in the order %s, want %s", gold.Name, order, want)
	}
	o.explains(first, gold.Digest, "gold-class-first 1", "its class is preferred", "class gold", "live_replicas 2",
		"want_replicas 3")

	plain := o.load("gold-class-first", map[string]string{"class": "plain"})
	order, first = o.race(plain)
	if want := "plain plain plain gold gold gold"; order != want {
		t.Errorf("under %s for another class they started in the order %s, want %s", plain.Name, order, want)
	}
	o.explains(first, plain.Digest, "gold-class-first 1", "config class=plain", "its class is preferred", "class plain")

	least := o.load("least-redundant-first", nil)
	order, first = o.race(least)
	if want := "plain plain plain gold gold gold"; order != want {
		t.Errorf("under %s they started in the order %s, want %s", least.Name, order, want)
	}
	o.explains(first, least.Digest, "least-redundant-first 1", "short of copies", "live_replicas 2", "want_replicas 4")
}

type ordering struct {
	t    *testing.T
	cell *local.Cell
	c    *client.Client
}

// load loads one of the examples: its module as it is committed, or built where it is written in Go.
func (o *ordering) load(name string, config map[string]string) wire.Policy {
	o.t.Helper()
	dir := "../../examples/policies/" + name
	path := filepath.Join(dir, name+".wasm")
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(o.t.TempDir(), name+".wasm")
		clitest.Must(o.t, build.Policy(o.t.Context(), dir, path, build.Options{}))
	}
	module, err := os.ReadFile(path)
	clitest.Must(o.t, err)
	p, err := o.c.PolicyLoadWith(o.t.Context(), module, config)
	clitest.Must(o.t, err)
	return p
}

// race has six repairs wait under a policy, lets them start, and gives the order in which they did and
// the operation that was first.
func (o *ordering) race(p wire.Policy) (order, first string) {
	o.t.Helper()
	_, err := o.c.PolicyActivate(o.t.Context(), p.Digest)
	clitest.Must(o.t, err)
	o.cell.Lose(orderTaker)
	clitest.Must(o.t, o.cell.AwaitNodes(o.t.Context(), "the lost node to be missed", func(n wire.Node) bool {
		return (n.State == "up") == (n.ID != orderTaker)
	}))
	names := o.waiting()
	clitest.Must(o.t, o.cell.Again(o.t.Context(), orderTaker))
	ids := make([]string, 0, len(names))
	for id := range names {
		ids = append(ids, id)
	}
	ops, err := o.c.Wait(o.t.Context(), ids, nil)
	clitest.Must(o.t, err)
	clitest.Must(o.t, cli.OpsError(ops))
	started := o.started(names)
	if len(started) != len(names) {
		o.t.Fatalf("%d repairs have started once, want %d", len(started), len(names))
	}
	var inOrder []string
	for _, id := range started {
		inOrder = append(inOrder, names[id])
	}
	return strings.Join(inOrder, " "), started[0]
}

// waiting makes six extents, and gives their repairs by operation: gold or plain.
func (o *ordering) waiting() map[string]string {
	o.t.Helper()
	var creates, seals, repairs []wire.Submission
	for i := range 6 {
		create := wire.Submission{Kind: "create", Replicas: []string{"n1", "n2"}, Want: 4, Class: "plain"}
		if i%2 == 1 {
			create.Want, create.Class = 3, "gold"
		}
		creates = append(creates, create)
	}
	for _, made := range o.submit(creates) {
		_, err := o.c.Put(o.t.Context(), strings.NewReader("some bytes"), client.PutOptions{Extent: made.Extent})
		clitest.Must(o.t, err)
		seals = append(seals, wire.Submission{Kind: "seal", Extent: made.Extent})
		repairs = append(repairs, wire.Submission{Kind: "repair", Extent: made.Extent})
	}
	o.submit(seals)
	answers, err := o.c.Submit(o.t.Context(), repairs, client.SubmitOptions{})
	clitest.Must(o.t, err)
	names := map[string]string{}
	for i, s := range answers {
		clitest.Must(o.t, client.Refusal(s))
		names[s.Op] = creates[i].Class
		op, err := o.c.Op(o.t.Context(), s.Op)
		clitest.Must(o.t, err)
		if op.State != "queued" || op.Blocked == "" {
			o.t.Fatalf("repair %s is %s, blocked by %q; it should wait", op.ID, op.State, op.Blocked)
		}
	}
	return names
}

// submit runs operations to their end.
func (o *ordering) submit(subs []wire.Submission) []wire.Submitted {
	o.t.Helper()
	answers, err := o.c.Submit(o.t.Context(), subs, client.SubmitOptions{})
	clitest.Must(o.t, err)
	var ids []string
	for _, s := range answers {
		clitest.Must(o.t, client.Refusal(s))
		ids = append(ids, s.Op)
	}
	ops, err := o.c.Wait(o.t.Context(), ids, nil)
	clitest.Must(o.t, err)
	clitest.Must(o.t, cli.OpsError(ops))
	return answers
}

// started are those operations in the order of their first start entries in the log.
func (o *ordering) started(ops map[string]string) []string {
	o.t.Helper()
	var started []string
	for e, err := range o.c.LogRange(o.t.Context(), "", 1, 0) {
		clitest.Must(o.t, err)
		for _, cmd := range e.Commands {
			if cmd.Type != "start" {
				continue
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(cmd.Text, "op="), " ")
			if _, ours := ops[id]; ours && !slices.Contains(started, id) {
				o.t.Logf("entry %s: %s of %s", strconv.FormatUint(e.Index, 10), cmd.Text, ops[id])
				started = append(started, id)
			}
		}
	}
	return started
}

// explains asks the command line why, and looks for words in the answer.
func (o *ordering) explains(op string, words ...string) {
	o.t.Helper()
	var out bytes.Buffer
	notes := &clitest.Watcher{}
	code := runContext(o.t.Context(), []string{"op", "explain", op, "--addr", o.cell.Configs[0].Listen},
		strings.NewReader(""), &out, notes, clitest.NoEnv)
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, w := range words {
		if code != exit.Done || !strings.Contains(text, w) {
			o.t.Errorf("op explain: exit code %d, and %q is not in it:\n%s%s", code, w, out.String(), notes)
		}
	}
}
