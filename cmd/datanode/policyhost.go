package main

import (
	"context"
	"errors"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// policyHost lets a node compile modules without knowing what compiles them.
type policyHost struct{ host *plugins.Host }

// Compile gives a module's policy. A module that is refused is the caller's mistake, not ours, and the
// error says so across the wire.
func (p policyHost) Compile(ctx context.Context, module []byte) (policies.Policy, error) {
	m, err := p.host.Compile(ctx, module)
	if refused := (*plugins.LoadError)(nil); errors.As(err, &refused) {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodeEnvelope, "%s", refused.Error())
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}
