package policyhost_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

func TestMain(m *testing.M) { clitest.Main(m) }

// A node refuses a module that means harm, and says why, across the wire.
func TestHostileModuleIsRefused(t *testing.T) {
	host, err := policyhost.New(t.Context(), nil, t.TempDir())
	clitest.Must(t, err)
	defer func() { clitest.Must(t, host.Close(context.WithoutCancel(t.Context()))) }()
	_, err = policyhost.For(host).Compile(t.Context(), []byte("\x00asm\x01\x00\x00\x00"), nil, state.MostBudget())
	if refused := (*wire.Error)(nil); !errors.As(err, &refused) || refused.Code != wire.CodeEnvelope ||
		!strings.Contains(err.Error(), string(plugins.MissingExport)) {
		t.Errorf("%v, want a refusal for %s", err, plugins.MissingExport)
	}
	_, err = policyhost.For(host).Compile(t.Context(), plugins.Default(), nil,
		policies.Budget{Batch: 1 << 10, Record: 1 << 10, Start: 4 << 10})
	if wire.CodeOf(err) != wire.CodeEnvelope || !strings.Contains(err.Error(), "policy-start-budget") {
		t.Errorf("%v, want a refusal that names what to raise", err)
	}
	p, err := policyhost.For(host).Compile(t.Context(), plugins.Default(), nil, state.MostBudget())
	clitest.Must(t, err)
	if p.Info().Name != "default" {
		t.Errorf("%+v", p.Info())
	}
}
