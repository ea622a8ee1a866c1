package state

import "github.com/datanode/datanode/wire"

func (s *State) loadPolicy(c *LoadPolicy) Result {
	if c.Digest == "" {
		return refused(wire.CodeInvalid, "a policy needs a digest")
	}
	s.loaded.Set(c.Digest, c)
	return Result{}
}

func (s *State) activatePolicy(c *ActivatePolicy) Result {
	if s.Policy(c.Digest) == nil {
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
	if s.Previous == s.Active || s.PolicyEpoch < 2 {
		return refused(wire.CodePrecondition, "no policy was active before this one")
	}
	s.Previous, s.Active = s.Active, s.Previous
	s.PolicyEpoch++
	return Result{}
}
