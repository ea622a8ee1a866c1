package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// PolicyLoad brings a module into the cell. It decides nothing until it is activated. Loading the
// same module again changes nothing.
func (c *Client) PolicyLoad(ctx context.Context, module []byte) (wire.Policy, error) {
	return c.PolicyLoadWith(ctx, module, nil)
}

// PolicyLoadWith is PolicyLoad with a configuration, which is part of what is loaded: the same module with
// another one is another policy, with a digest of its own, to be activated like any other.
func (c *Client) PolicyLoadWith(ctx context.Context, module []byte, config map[string]string) (wire.Policy, error) {
	var loaded wire.Policy
	req := wire.PolicyLoadRequest{Length: uint64(len(module)), Config: config}
	err := c.run(ctx, wire.OpPolicyLoad, route{}, repeatable, func(conn *mux.Conn) error {
		s, err := conn.Open(ctx, c.request(wire.OpPolicyLoad, route{}, &req))
		if err != nil {
			return err
		}
		defer s.Close()
		err = s.Send(module)
		if err == nil {
			err = s.CloseSend()
		}
		if err != nil && !errors.Is(err, mux.ErrEnded) {
			return err
		}
		answer, err := s.Reply()
		if err != nil {
			return err
		}
		return decode(wire.OpPolicyLoad, answer, &loaded)
	})
	if err == nil && loaded.Module != "" { // older nodes do not say it
		err = about(wire.OpPolicyLoad, "the module", fmt.Sprintf("sha256:%x", sha256.Sum256(module)), loaded.Module)
	}
	return loaded, err
}

// PolicyActivate lets a loaded policy decide from now on. Any unique prefix of the digest's hex
// digits names it, and so does its name while only one is called that.
func (c *Client) PolicyActivate(ctx context.Context, digest string) (wire.Policy, error) {
	return call[wire.Policy](ctx, c, route{}, repeatable, wire.OpPolicyActivate, &wire.PolicyRequest{Digest: digest})
}

// PolicyRollback lets the policy decide again that did before the active one, and returns it.
func (c *Client) PolicyRollback(ctx context.Context) (wire.Policy, error) {
	return call[wire.Policy](ctx, c, route{}, onlyUndone, wire.OpPolicyRollback, nil)
}

// Policies lists the loaded policies.
func (c *Client) Policies(ctx context.Context) (wire.PoliciesReply, error) {
	return call[wire.PoliciesReply](ctx, c, route{}, repeatable, wire.OpPolicies, nil)
}
