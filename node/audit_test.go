package node

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// asAt is a client with a certificate that asks one node only.
func (c *cell) asAt(id string, source *pki.Source) *client.Client {
	one := client.New(client.Options{Addrs: []string{c.nodes[id].Addr()}, Name: c.t.Name(), TLS: source})
	c.t.Cleanup(func() { one.Close() })
	return one
}

// follower is one of the first two nodes, that does not lead.
func (c *cell) follower() string {
	if c.leader() == "n1" {
		return "n2"
	}
	return "n1"
}

// Whatever a person changes, by way of a node that does not lead, is in the log with his certificate's role and name,
// and in the log of the node that leads. What the cell does by itself is nobody's.
func TestChangesSayWhoMadeThem(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	d := &diary{}
	c := newSecureCell(t, o, 3, 1, func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(d, nil)).With("on", cfg.ID)
		cfg.Policies = flatHost{}
	})
	ctx, at := testContext(t), c.follower()
	ann, eve := c.asAt(at, o.Source(pki.RoleAdmin, "ann")), c.asAt(at, o.Source(pki.RoleAdmin, "eve"))
	bob := c.asAt(at, o.Source(pki.RoleClient, "bob"))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	must(ann.SetSetting(ctx, "max-attempts", "9"))
	must(ann.SetSetting(ctx, "balance", "off")) // of a level at which joins say who asked, too
	p, err := ann.PolicyLoad(ctx, []byte("flat"))
	must(err)
	_, err = ann.PolicyActivate(ctx, p.Digest)
	must(err)
	_, err = eve.PolicyRollback(ctx)
	must(err)
	loc, err := bob.Put(ctx, bytes.NewReader(pattern(1, 100)), client.PutOptions{Length: 100})
	must(err)
	res, err := bob.Submit(ctx, []wire.Submission{{Kind: "delete", Extent: loc.Extent}}, client.SubmitOptions{})
	must(err)
	_, err = bob.Wait(ctx, []string{res[0].Op}, nil)
	must(err)

	c.kill("n4")
	c.start("n4")
	c.ready("n4")
	c.kill("n4")
	c.down("n4")
	_, err = ann.RemoveNode(ctx, wire.NodeRemoveRequest{Node: "n4", Force: true})
	must(err)
	c.set("replicas", "3")
	_, err = bob.Put(ctx, bytes.NewReader(pattern(2, 100)), client.PutOptions{Length: 100, Class: "stays"})
	must(err)
	res, err = ann.Submit(ctx, []wire.Submission{{Kind: "decommission", Node: at}}, client.SubmitOptions{Force: true})
	must(err)
	must(client.Refusal(res[0]))
	cancelled, err := eve.Cancel(ctx, res[0].Op)
	must(err)
	checkCancelled(t, cancelled)

	c.inTheLog(ann, map[string]string{
		"setting": "admin/ann", "policy-load": "admin/ann", "policy-activate": "admin/ann", "policy-rollback": "admin/eve",
		"admit delete": "client/bob", "node-remove": "admin/ann", "admit decommission": "admin/ann", "cancel": "admin/eve",
		"session": "client/bob", "node-join": "node/n4",
	})
	for command, who := range map[string]string{
		"setting": "admin/ann", "policy-load": "admin/ann", "policy-activate": "admin/ann", "policy-rollback": "admin/eve",
		"delete": "client/bob", "node-remove": "admin/ann", "decommission": "admin/ann", "cancel": "admin/eve",
	} {
		c.untilTrue("the leader's log says who asked for "+command, func() bool {
			return d.says(`msg="asked for"`, "on="+c.leader(), "asked_by="+who, "command="+command+" ", "index=")
		})
	}
	if !d.says("asked_by=admin/ann", "command=decommission", "forced=true") {
		t.Error("the log does not say that a check was overridden")
	}
	if d.says(`msg="asked for"`, "asked_by=node/") {
		t.Error("the log tells what a node asked for as if somebody had")
	}
}

func checkCancelled(t *testing.T, o wire.Op) {
	t.Helper()
	last := o.Steps[len(o.Steps)-1]
	if o.AskedBy != "admin/ann" || o.State != "cancelled" || last.Note != "cancelled by admin/eve" ||
		!strings.Contains(o.Steps[0].Note, "by force of admin/ann") {
		t.Errorf("%+v", o)
	}
}

// inTheLog makes sure that the log, as a client reads it, has a command of each type that was asked for by whom.
func (c *cell) inTheLog(reader *client.Client, want map[string]string) {
	c.t.Helper()
	found := map[string][]string{}
	for e, err := range reader.LogRange(testContext(c.t), c.leader(), 1, 0) {
		if err != nil {
			c.t.Fatal(err)
		}
		for _, cmd := range e.Commands {
			name := cmd.Type
			if name == "admit" {
				name += " " + strings.Fields(cmd.Text)[1]
			}
			if !slices.Contains(found[name], cmd.AskedBy) {
				found[name] = append(found[name], cmd.AskedBy)
			}
		}
	}
	for name, who := range want {
		if !slices.Contains(found[name], who) {
			c.t.Errorf("%s was asked for by %q, want %s among them", name, found[name], who)
		}
	}
	for _, name := range []string{"start", "finish", "genesis", "node-state", "gone"} {
		if len(found[name]) != 1 || found[name][0] != "" {
			c.t.Errorf("%s was asked for by %q, want it to be nobody's", name, found[name])
		}
	}
}

// Without certificates nobody can tell who it was, and nothing is said.
func TestChangesWithoutCertificates(t *testing.T) {
	t.Parallel()
	d := &diary{}
	c := newCellWith(t, 1, 0, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(d, nil)) })
	c.set("max-attempts", "9")
	res := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "create"})
	if o, err := c.client.Op(testContext(t), res.Op); err != nil || o.AskedBy != "" {
		t.Errorf("asked for by %q, %v", o.AskedBy, err)
	}
	for _, who := range c.askers(func(state.Command) bool { return true }) {
		if who != "" {
			t.Errorf("something was asked for by %q", who)
		}
	}
	if d.says(`msg="asked for"`) {
		t.Error("the log tells who asked, and nobody can know")
	}
}
