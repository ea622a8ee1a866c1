package lead

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/datanode/datanode/node/audit"
	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// env is what every part of a Leader needs.
type env struct {
	id     state.NodeID
	addr   string
	log    *raftlog.Group
	clock  clock.Clock
	times  Times
	logger *slog.Logger
	audit  audit.Trail
	*confirmed
}

// confirmed is the last term that this node led and was confirmed in. A node leads at most once in a term.
type confirmed struct {
	log  *raftlog.Group
	term atomic.Uint64
}

// confirm is Leader.Confirm.
func (c *confirmed) confirm(ctx context.Context) error {
	term := c.log.Term()
	if c.term.Load() == term {
		return nil
	}
	if err := c.log.Barrier(ctx); err != nil {
		return err
	}
	c.term.Store(term)
	return nil
}

// propose is Leader.Propose.
func (e *env) propose(ctx context.Context, cmds ...state.Command) error {
	results, index, err := e.log.Propose(ctx, cmds...)
	if err != nil {
		return err
	}
	for i, res := range results {
		if res.Err != nil {
			return res.Err
		}
		e.audit.Command(index, cmds[i])
	}
	return nil
}

// proves reports whether all nodes carry out the commands about damaged extents and doubted replicas.
func (e *env) proves() bool { return e.log.View().AllReach(state.LevelProven) }
