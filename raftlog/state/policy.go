package state

import (
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

func (s *State) loadPolicy(c *LoadPolicy) Result {
	if c.Digest == "" {
		return refused(wire.CodeInvalid, "a policy needs a digest")
	}
	if err := policies.CheckConfig(c.Config); err != nil {
		return refused(wire.CodeInvalid, "%s", err.Error())
	}
	if want := policies.ConfiguredDigest(c.ModuleDigest(), c.Config); c.Digest != want {
		return refused(wire.CodeInvalid, "a policy with this module and configuration is %s, not %s", want, c.Digest)
	}
	p := *c
	s.loaded.Set(p.Digest, &p)
	return Result{}
}

func (s *State) activatePolicy(c *ActivatePolicy) Result {
	if c.Digest != "" && s.Policy(c.Digest) == nil {
		return refused(wire.CodeNotFound, "no policy %s is loaded", c.Digest)
	}
	if c.Digest == s.Active {
		return Result{}
	}
	s.Previous, s.Active = s.Active, c.Digest
	s.PolicyEpoch++
	return Result{}
}

func (s *State) rollbackPolicy() Result {
	if s.Previous == s.Active {
		return refused(wire.CodePrecondition, "no policy was active before this one")
	}
	s.Previous, s.Active = s.Active, s.Previous
	s.PolicyEpoch++
	return Result{}
}
