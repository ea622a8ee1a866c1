package raftlog

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// sieve looks at what peers ask before the engine sees it. The engine cuts its log where a term in a message differs
// from its own, and hands out votes by what is in them: damage must not get that far.
type sieve struct {
	logger   *slog.Logger
	abstains func() bool
	damaged  atomic.Uint64 // messages with a damaged entry, since the start
}

// refuse answers a message that the engine must not see, and reports whether it did.
func (s *sieve) refuse(rpc raft.RPC) bool {
	switch m := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		return s.refuseEntries(rpc, m)
	case *raft.RequestVoteRequest:
		if s.abstains() {
			rpc.Respond(&raft.RequestVoteResponse{RPCHeader: m.RPCHeader}, nil)
			return true
		}
	case *raft.RequestPreVoteRequest:
		if s.abstains() {
			rpc.Respond(&raft.RequestPreVoteResponse{RPCHeader: m.RPCHeader}, nil)
			return true
		}
	case *raft.TimeoutNowRequest:
		if s.abstains() {
			rpc.Respond(nil, errAbstains)
			return true
		}
	}
	return false
}

// refuseEntries refuses entries that are damaged. It is the connection or the sender's memory that is at fault, not
// this node: it stays, and the sender tries again.
func (s *sieve) refuseEntries(rpc raft.RPC, m *raft.AppendEntriesRequest) bool {
	for _, l := range m.Entries {
		err := checkRecord(l)
		if err == nil {
			continue
		}
		s.damaged.Add(1)
		s.logger.Error("a damaged entry has arrived, and is not stored", "from", string(m.ID), "err", err)
		rpc.Respond(nil, fmt.Errorf("arrived damaged, not stored: %w", err))
		return true
	}
	return false
}
