package node

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// flatHost makes policies of any module that give all operations the priority that is configured, 0
// without. They must get nothing else.
type flatHost struct{}

type flatPolicy struct {
	policies.Policy
	info     policies.Info
	priority int32
}

func (p *flatPolicy) Info() policies.Info { return p.info }

func (p *flatPolicy) Score(_ context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	for i := range facts {
		out[i] = policies.Score{Priority: p.priority}
	}
	return 1, nil
}

func (flatHost) Compile(
	_ context.Context, module []byte, config map[string]string, _ policies.Budget,
) (policies.Policy, error) {
	native := policies.Native()
	p := &flatPolicy{native, policies.Info{
		Name: "flat", Version: "1", Digest: modules.DigestOf(module), Reasons: native.Info().Reasons,
	}, 0}
	for key, value := range config {
		n, err := strconv.ParseInt(value, 10, 32)
		if key != "priority" || err != nil {
			return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodeEnvelope, "configured with %s", policies.ConfigText(config))
		}
		p.priority = int32(n)
	}
	return p, nil
}

// decisionOfCreate creates an extent and gives the decision about that.
func (c *cell) decisionOfCreate() state.Decision {
	c.t.Helper()
	id, err := state.ParseOpID(c.run(wire.Submission{Kind: "create"})[0].ID)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.any().log.View().Op(id).Decision
}

// One module decides by the configuration that it was loaded with, on whichever node leads. To change
// it, it is loaded again; a rollback brings the earlier one back.
func TestPolicyConfig(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.Policies, cfg.DefaultModule = flatHost{}, []byte("flat") })
	ctx := testContext(t)
	load := func(config map[string]string) wire.Policy {
		t.Helper()
		p, err := c.client.PolicyLoadWith(ctx, []byte("flat"), config)
		if err != nil {
			t.Fatal(err)
		}
		if p.Module != modules.DigestOf([]byte("flat")) || !maps.Equal(p.Config, config) {
			t.Errorf("loaded %+v, want the configuration %v", p, config)
		}
		return p
	}
	decides := func(p wire.Policy, priority int32) {
		t.Helper()
		d := c.decisionOfCreate()
		if d.Policy != p.Digest || d.Priority != priority || d.Fallback != "" {
			t.Errorf("decided by %s, priority %d, fallback %q; want %s and %d",
				d.Policy, d.Priority, d.Fallback, p.Digest, priority)
		}
	}
	plain, five, seven := load(nil), load(map[string]string{"priority": "5"}), load(map[string]string{"priority": "7"})
	if plain.Digest != plain.Module || five.Digest == seven.Digest || five.Digest == plain.Digest {
		t.Errorf("digests %s, %s and %s", plain.Digest, five.Digest, seven.Digest)
	}
	decides(plain, 0)
	for _, p := range []wire.Policy{five, seven} {
		if _, err := c.client.PolicyActivate(ctx, p.Digest); err != nil {
			t.Fatal(err)
		}
	}
	decides(seven, 7)
	if _, err := c.client.PolicyRollback(ctx); err != nil {
		t.Fatal(err)
	}
	decides(five, 5)

	reply := call[wire.LogReply](t, c.raw("n1"), wire.OpLogList,
		&wire.LogRequest{From: 1, To: uint64(c.any().log.AppliedIndex())})
	if text := fmt.Sprint(reply.Entries); !strings.Contains(text, five.Digest+" priority=5") {
		t.Errorf("the log does not show the configuration:\n%s", text)
	}
	lost := c.leader()
	c.kill(lost)
	c.leader()
	decides(five, 5)
	c.start(lost)
	cfg := c.configs[lost]
	cfg.ID, cfg.Dir, cfg.Listen, cfg.Bootstrap, cfg.Join = "n4", t.TempDir(), "127.0.0.1:0", nil, []string{c.any().Addr()}
	c.configs["n4"] = cfg
	c.start("n4")
	for _, id := range []string{lost, "n4"} {
		c.ready(id)
		c.untilTrue(id+" has compiled what is configured", func() bool {
			return c.nodes[id].knows(five.Digest) && c.nodes[id].knows(seven.Digest)
		})
	}
}

// What cannot be a configuration is refused before anything is stored, and so is what the policy refuses.
func TestPolicyConfigIsRefused(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 1, 0, func(cfg *Config) { cfg.Policies = flatHost{} })
	for _, refusal := range []struct {
		config map[string]string
		code   wire.Code
		word   string
	}{
		{map[string]string{"priority": strings.Repeat("1", policies.MaxConfigBytes)}, wire.CodeInvalid, "4104 bytes"},
		{map[string]string{"": "1"}, wire.CodeInvalid, "1 to 64 bytes"},
		{map[string]string{"priority": "high"}, wire.CodeEnvelope, "configured with priority=high"},
	} {
		_, err := c.client.PolicyLoadWith(testContext(t), []byte("flat"), refusal.config)
		oneLine(t, err, refusal.word)
		if wire.CodeOf(err) != refusal.code {
			t.Errorf("%v, want code %s", err, refusal.code)
		}
	}
	c.any().log.View().Policies(func(p *state.LoadPolicy) bool {
		t.Errorf("%+v was loaded", p)
		return true
	})
}

// knows reports whether this node could run a policy.
func (n *Node) knows(digest string) bool {
	_, ok := n.policies.Info(digest)
	return ok
}
