package raftlog

import (
	"sync"

	"github.com/hashicorp/raft"
)

// teller tells the other nodes at once how far the log is agreed on. The engine tells them with the next entry, or
// Timing.Commit later: until then they do not carry out what callers here know to be decided.
//
// Invariant: it tells of entries that this node has proposed and applied, in the term in which it has. So this node
// leads, or has led, in that term, and what it sends is what its engine is going to send: an append without entries,
// behind one that a majority has. A node that does not have that one yet, or has come to a later term, refuses it and
// hears the same from the engine.
//
// Goroutines: one for each other node while it is told something, so that a node that hangs holds up no other.
type teller struct {
	net     *transport
	header  raft.RPCHeader
	servers func() []raft.Server

	mu     sync.Mutex
	closed bool // under mu
	// next is what a node is to be told when the message under way has come; nil for nothing more. A node that is told
	// nothing is not in it. Under mu.
	next map[raft.ServerID]*raft.AppendEntriesRequest
	told sync.WaitGroup
}

func newTeller(net *transport, conf *raft.Config, servers func() []raft.Server) *teller {
	return &teller{
		net: net, servers: servers, next: make(map[raft.ServerID]*raft.AppendEntriesRequest),
		header: raft.RPCHeader{
			ProtocolVersion: conf.ProtocolVersion, ID: []byte(conf.LocalID),
			Addr: net.EncodePeer(conf.LocalID, net.LocalAddr()),
		},
	}
}

// tell says that the log is agreed on up to an entry of this node's. It does not wait.
func (t *teller) tell(index, term uint64) {
	req := &raft.AppendEntriesRequest{
		RPCHeader: t.header, Term: term, PrevLogEntry: index, PrevLogTerm: term, LeaderCommitIndex: index,
	}
	servers := t.servers()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range servers {
		if t.closed || string(s.ID) == string(t.header.ID) {
			continue
		}
		_, busy := t.next[s.ID]
		if busy {
			t.next[s.ID] = req
			continue
		}
		t.next[s.ID] = nil
		t.told.Go(func() { t.to(s, req) })
	}
}

// to tells a node, and what there is to tell it by then.
func (t *teller) to(s raft.Server, req *raft.AppendEntriesRequest) {
	for req != nil {
		// Whether it comes or not: the engine says it again.
		_ = t.net.AppendEntries(s.ID, s.Address, req, &raft.AppendEntriesResponse{})
		t.mu.Lock()
		if req = t.next[s.ID]; req == nil || t.closed {
			delete(t.next, s.ID)
			req = nil
		} else {
			t.next[s.ID] = nil
		}
		t.mu.Unlock()
	}
}

// stop ends it. The transport is cut already.
func (t *teller) stop() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.told.Wait()
}
