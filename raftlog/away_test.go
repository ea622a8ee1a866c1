package raftlog

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// TestAwayHasNoSay has a voter come back elsewhere than its log says, as a copy of it would. Until a leader has
// let it in there, it gives nobody its vote and does not stand; then it is a voter as before.
func TestAwayHasNoSay(t *testing.T) {
	held, elsewhere := false, state.NodeID("")
	c := &lossyCell{}
	c.testCell = newCell(t, 3, func(cfg *Config) {
		cfg.Held = held
		if cfg.ID == elsewhere {
			cfg.Advertise = "elsewhere:1"
			there := cfg.Layer.(*testLayer)
			_ = there.Close() // nobody is there any more
			cfg.Layer = there.net.listen(cfg.Advertise)
		}
	})
	leader := c.leader()
	c.propose(3)
	c.settle()
	var id state.NodeID
	for other := range c.groups {
		if other != leader.cfg.ID {
			id = max(id, other)
		}
	}
	c.stop(id)
	held, elsewhere = true, id
	moved := c.start(id, c.servers)

	if was, needed := moved.Away(); was != testAddr(id) || needed {
		t.Fatalf("it was at %q, needed %t", was, needed)
	}
	ask := func() (voted bool) {
		t.Helper()
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader.cfg.ID),
			Addr: []byte(testAddr(leader.cfg.ID))}
		term := max(moved.Term(), leader.Term()) + 1
		args := raft.RequestVoteRequest{RPCHeader: header, Term: term, LastLogIndex: 1 << 40, LastLogTerm: term,
			LeadershipTransfer: true}
		var answer raft.RequestVoteResponse
		if err := leader.net.RequestVote(raft.ServerID(id), raft.ServerAddress(moved.cfg.Advertise), &args,
			&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Granted
	}
	if ask() {
		t.Error("it votes elsewhere than its log has it")
	}
	now := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
	if err := leader.net.TimeoutNow(raft.ServerID(id), raft.ServerAddress(moved.cfg.Advertise), &now,
		&raft.TimeoutNowResponse{}); err == nil {
		t.Error("it stands for election elsewhere than its log has it")
	}
	if _, err := moved.net.streams.Dial(raft.ServerAddress(testAddr(leader.cfg.ID)), 0); err == nil {
		t.Error("it dials others elsewhere than its log has it")
	}

	delete(c.groups, id) // it cannot lead
	leader = c.leader()
	if err := leader.AddVoter(testContext(t), id, moved.cfg.Advertise); err != nil {
		t.Fatal(err)
	}
	c.groups[id] = moved
	if err := moved.WaitApplied(testContext(t), leader.AppliedIndex()); err != nil {
		t.Fatal(err)
	}
	if was, _ := moved.Away(); was != "" {
		t.Errorf("it was let in, and is still said to be away from %s", was)
	}
	if !ask() {
		t.Error("it was let in where it is, and does not vote")
	}
}
