package raftlog

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// ServerInfo is a member of the group as it is now.
type ServerInfo struct {
	Server
	Voter bool
}

// Servers are the members by the newest configuration in this node's log, at the addresses where they are now.
func (g *Group) Servers() ([]ServerInfo, error) {
	out, err := g.recordedServers()
	for i, s := range out {
		if addr := g.moved.addr(s.ID); addr != "" {
			out[i].Addr = addr
		}
	}
	return out, err
}

func (g *Group) recordedServers() ([]ServerInfo, error) {
	f := g.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, g.fromRaft(err)
	}
	var out []ServerInfo
	for _, s := range f.Configuration().Servers {
		out = append(out, ServerInfo{
			Server: Server{ID: state.NodeID(s.ID), Addr: string(s.Address)},
			Voter:  s.Suffrage == raft.Voter,
		})
	}
	return out, nil
}

// Changes to the group: only the leader makes them, one at a time, and each returns when it is agreed on.
// An error's outcome is that of Propose.

// AddVoter adds a voter, gives a member the vote, or changes its address.
func (g *Group) AddVoter(ctx context.Context, id state.NodeID, addr string) error {
	return g.await(ctx, func() error {
		return g.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, enqueueTimeout).Error()
	})
}

// AddNonvoter adds a member that follows the log. A voter keeps its vote.
func (g *Group) AddNonvoter(ctx context.Context, id state.NodeID, addr string) error {
	return g.await(ctx, func() error {
		return g.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, enqueueTimeout).Error()
	})
}

// Demote takes the vote from a member, which follows the log from then on.
func (g *Group) Demote(ctx context.Context, id state.NodeID) error {
	return g.await(ctx, func() error {
		return g.raft.DemoteVoter(raft.ServerID(id), 0, enqueueTimeout).Error()
	})
}

// Remove takes a member out of the group.
func (g *Group) Remove(ctx context.Context, id state.NodeID) error {
	return g.await(ctx, func() error {
		return g.raft.RemoveServer(raft.ServerID(id), 0, enqueueTimeout).Error()
	})
}

// VerifyLeader asks a quorum whether this node is still the leader.
func (g *Group) VerifyLeader(ctx context.Context) error {
	return g.await(ctx, func() error { return g.raft.VerifyLeader().Error() })
}

// LastContact is when this node last heard of the leader; now on the leader itself.
func (g *Group) LastContact() time.Time {
	if g.IsLeader() {
		return g.cfg.Now()
	}
	return g.raft.LastContact()
}

// Leader is the leader as far as this node knows; empty when it knows none.
func (g *Group) Leader() (state.NodeID, string) {
	addr, id := g.raft.LeaderWithID()
	if state.NodeID(id) == g.cfg.ID && !g.IsLeader() {
		return "", "" // it has just stepped down
	}
	return state.NodeID(id), string(addr)
}

// IsLeader reports whether this node leads, as far as it knows. Before it acts on the state it must
// pass a Barrier.
func (g *Group) IsLeader() bool {
	return g.raft.State() == raft.Leader && g.Err() == nil && g.Hangs() == nil && !g.isAway()
}

// LeaderChanged is closed at the next change of the leader. Take it before asking who that is.
func (g *Group) LeaderChanged() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leaderChanged
}

// maxObserved is how many observations may wait for the watcher. It reads what is true now for each,
// so that one dropped behind others is not missed.
const maxObserved = 16

// watch announces changes of the leader, and starts each leadership of this node with an entry
// of its own, so that everything before it is seen to be applied.
func (g *Group) watch() {
	defer g.watching.Done()
	seen := make(chan raft.Observation, maxObserved)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	g.raft.RegisterObserver(observer)
	defer g.raft.DeregisterObserver(observer)
	var began uint64 // the term that this node's last leadership began in
	for {
		if term := g.Term(); g.IsLeader() && term != began {
			began = term
			g.proposeEmpty()
		}
		select {
		case <-seen:
			g.announceLeader()
		case <-g.failed:
			g.announceLeader()
			return
		case <-g.closing:
			return
		}
	}
}

func (g *Group) announceLeader() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.leaderChanged)
	g.leaderChanged = make(chan struct{})
}

// proposeEmpty does not wait. Where the queue is full, other entries do as well.
func (g *Group) proposeEmpty() {
	select {
	case g.proposals <- &proposal{done: make(chan outcome, 1)}:
	default:
	}
}
