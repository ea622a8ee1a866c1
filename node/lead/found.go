package lead

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// founding is what a new cell begins with.
type founding struct {
	settings  map[string]string
	bootstrap []raftlog.Server
	seed      func() []state.Command // its policy
	fail      func(error)            // stops the node
}

// foundCell makes the first entries of a new cell: its name, its settings, its policy.
func (s *starter) foundCell(ctx context.Context) {
	if s.log.View().Cell != "" {
		return
	}
	name := make([]byte, 8)
	if _, err := rand.Read(name); err != nil {
		s.found.fail(err)
		return
	}
	cmds := []state.Command{&state.Genesis{Cell: "c-" + hex.EncodeToString(name)}}
	for key, value := range s.found.settings {
		cmds = append(cmds, &state.Set{Key: key, Value: value})
	}
	for _, p := range s.found.bootstrap {
		cmds = append(cmds, &state.Join{Node: p.ID, Addr: p.Addr, Voter: true})
	}
	cmds = append(cmds, s.found.seed()...)
	results, _, err := s.log.Propose(ctx, cmds...)
	if err != nil {
		s.logger.Info("cell not founded yet", "error", err)
		return
	}
	for i, res := range results {
		if res.Err != nil {
			s.logger.Error("founding entry refused", "command", cmds[i].CommandType().String(), "error", res.Err)
		}
	}
}
