package raftlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// maxHeirs bounds how many voters are tried when the leadership is handed on.
const maxHeirs = 3

// transferPause is how long another transfer waits for the engine to be done with the last one.
const transferPause = 5 * time.Millisecond

// contacts is when each peer has last answered the leader, and how far its log went then. The engine keeps that to
// itself, and hands the leadership to whoever it has sent the most to, dead or alive.
type contacts struct {
	mu   sync.Mutex
	last map[raft.ServerID]contact // Guarded by mu.
}

type contact struct {
	at  time.Time
	log uint64 // index of its last entry
}

func newContacts() *contacts { return &contacts{last: map[raft.ServerID]contact{}} }

func (c *contacts) note(id raft.ServerID, log uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[id] = contact{at: time.Now(), log: log}
}

func (c *contacts) of(id raft.ServerID) contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[id]
}

// AppendEntries notes who answers. The engine's heartbeats come this way, however busy the rest is.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest,
	resp *raft.AppendEntriesResponse) error {
	if err := t.NetworkTransport.AppendEntries(id, t.moved.target(id, to), args, resp); err != nil {
		return err
	}
	t.contacts.note(id, resp.LastLog)
	return nil
}

// TimeoutNow asks a voter to stand for election, and gives up soon. While the engine waits for it, it refuses all
// that is proposed: of a voter that is frozen for the ten seconds that other calls have.
func (t *transport) TimeoutNow(id raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest,
	resp *raft.TimeoutNowResponse) error {
	done := make(chan error, 1)
	go func() {
		done <- t.NetworkTransport.TimeoutNow(id, t.moved.target(id, to), args, &raft.TimeoutNowResponse{})
	}()
	limit := time.NewTimer(t.handOver)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		return fmt.Errorf("%s has not answered within %s", id, t.handOver)
	case <-t.closed:
		return errClosed
	}
}

// heirs are the voters that may lead next, the best first: those that have answered lately, by how far their logs go.
func (g *Group) heirs() ([]raft.Server, error) {
	f := g.raft.GetConfiguration() // it is kept ready, and does not wait for the main loop
	if err := f.Error(); err != nil {
		return nil, g.fromRaft(err)
	}
	lately := time.Now().Add(-g.cfg.Timing.Heartbeat / 2)
	var heirs []raft.Server
	for _, s := range f.Configuration().Servers {
		if s.Suffrage == raft.Voter && s.ID != raft.ServerID(g.cfg.ID) && g.net.contacts.of(s.ID).at.After(lately) {
			heirs = append(heirs, s)
		}
	}
	if len(heirs) == 0 {
		return nil, wire.Errorf(wire.OpPropose, wire.CodePrecondition,
			"no other voter has been heard from lately that could lead")
	}
	slices.SortStableFunc(heirs, func(a, b raft.Server) int {
		x, y := g.net.contacts.of(a.ID), g.net.contacts.of(b.ID)
		return cmp.Or(cmp.Compare(y.log, x.log), y.at.Compare(x.at))
	})
	return heirs[:min(len(heirs), maxHeirs)], nil
}

// TransferLeadership hands the leadership to a voter that was heard from lately, the one that is furthest on first.
// Nothing can be proposed meanwhile, which for one that does not take it is no longer than about an election.
func (g *Group) TransferLeadership(ctx context.Context) error {
	return g.TransferLeadershipTo(ctx, func(state.NodeID) bool { return true })
}

// TransferLeadershipTo is TransferLeadership to one of the voters that fit. Its error is also that none does.
func (g *Group) TransferLeadershipTo(ctx context.Context, fit func(state.NodeID) bool) error {
	heirs, err := g.heirs()
	if err != nil {
		return err
	}
	heirs = slices.DeleteFunc(heirs, func(s raft.Server) bool { return !fit(state.NodeID(s.ID)) })
	if len(heirs) == 0 {
		return wire.Errorf(wire.OpPropose, wire.CodePrecondition, "no voter that could lead fits")
	}
	var errs []error
	for _, h := range heirs {
		err := g.handTo(ctx, h)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", h.ID, err))
		if ctx.Err() != nil || !g.IsLeader() {
			break
		}
	}
	return errors.Join(errs...)
}

// handTo hands the leadership to one voter. The engine answers a transfer that has failed a moment before it is done
// with it, and refuses another until then.
func (g *Group) handTo(ctx context.Context, to raft.Server) error {
	for {
		var busy atomic.Bool
		err := g.await(ctx, func() error {
			err := g.raft.LeadershipTransferToServer(to.ID, to.Address).Error()
			busy.Store(errors.Is(err, raft.ErrLeadershipTransferInProgress))
			return err
		})
		if !busy.Load() {
			return err
		}
		select {
		case <-time.After(transferPause):
		case <-ctx.Done():
			return err
		case <-g.closing:
			return err
		}
	}
}
