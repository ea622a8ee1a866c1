package raftlog

import (
	"context"
	"io"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// moved are the members that are elsewhere than the log says. A group whose nodes have all moved could not elect a
// leader to write that down; with this they find one another, and nothing in the log is touched by hand.
type moved struct {
	addrs atomic.Pointer[map[state.NodeID]string]
}

func newMoved(addrs map[state.NodeID]string) *moved {
	m := new(moved)
	if len(addrs) > 0 {
		m.addrs.Store(&addrs)
	}
	return m
}

// addr is where a node is, empty where the log knows.
func (m *moved) addr(id state.NodeID) string {
	if addrs := m.addrs.Load(); addrs != nil {
		return (*addrs)[id]
	}
	return ""
}

// target is where to reach a node that the log has at an address. The engine's own seam for that logs a warning for
// every message to a node that has not moved.
func (m *moved) target(id raft.ServerID, recorded raft.ServerAddress) raft.ServerAddress {
	if addr := m.addr(state.NodeID(id)); addr != "" {
		return raft.ServerAddress(addr)
	}
	return recorded
}

func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, t.moved.target(id, target))
	if err != nil {
		return nil, err
	}
	return newPipeline(p), nil
}

func (t *transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest,
	resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, t.moved.target(id, target), args, resp, data)
}

// Moved are the members, as they were and as they are, whose new addresses are not in the log yet. They are empty from
// the moment on that the log has them all.
func (g *Group) Moved() (before, now []ServerInfo, err error) {
	if g.moved.addrs.Load() == nil {
		return nil, nil, nil
	}
	before, err = g.recordedServers()
	if err != nil || len(before) == 0 {
		return nil, nil, err
	}
	now = slices.Clone(before)
	for i, s := range before {
		if addr := g.moved.addr(s.ID); addr != "" {
			now[i].Addr = addr
		}
	}
	if slices.Equal(before, now) {
		g.moved.addrs.Store(nil)
		return nil, nil, nil
	}
	return before, now, nil
}

// RecordMoves brings the group's configuration up to where its members are, one after another, on the leader. Two
// members cannot share an address: one whose new address is still another's waits until that one has moved.
func (g *Group) RecordMoves(ctx context.Context) error {
	before, now, err := g.Moved()
	if err != nil {
		return err
	}
	for range now {
		for i, s := range now {
			taken := slices.ContainsFunc(before, func(o ServerInfo) bool { return o.ID != s.ID && o.Addr == s.Addr })
			if before[i].Addr == s.Addr || taken {
				continue
			}
			add := g.AddNonvoter
			if s.Voter {
				add = g.AddVoter
			}
			if err := add(ctx, s.ID, s.Addr); err != nil {
				return err
			}
			before[i].Addr = s.Addr
		}
	}
	return nil
}
