package raftlog

import (
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// A folder may have been copied, and the copy and the original both be started: two nodes with one ID and one vote. The
// group knows each member at one address, so a node that is somewhere else than its log says is *away*: it gives nobody
// its vote, does not stand for election and leads nobody, until its log has it where it is. A leader writes that down
// when it admits the node. A copy thus never votes in a term in which its original may have voted: whoever is in
// a term up to that of the entry which let it in lacks that entry, and is refused for it.
//
// That needs a leader without the node's vote. Where fewer than three vote there is none, and there the node may take
// its place itself, once it has made sure that nobody is at the address that its log has: see StayHere. With two voters
// that is safe even if it errs, since the other one has to agree to everything.

// minOthers is how many voters a group has at least that can elect a leader without one of them.
const minOthers = 3

// away is whether a node may be a copy of the one that its group knows.
type away struct {
	is atomic.Bool
}

// isAway reports whether this node must have no say yet. It is asked for each vote, by any goroutine.
func (g *Group) isAway() bool {
	if !g.away.is.Load() {
		return false
	}
	if !g.started.Load() {
		return true
	}
	if g.recordedAddr() != "" {
		return true
	}
	if g.away.is.CompareAndSwap(true, false) {
		g.cfg.Logger.Debug("the log has this node where it is")
	}
	return false
}

// recordedAddr is where the log has this node, empty where that is here, or the log does not have it.
func (g *Group) recordedAddr() string {
	f := g.raft.GetConfiguration() // it is kept ready, and does not wait for the main loop
	if f.Error() != nil {
		return ""
	}
	for _, s := range f.Configuration().Servers {
		if s.ID != raft.ServerID(g.cfg.ID) {
			continue
		}
		if at := string(g.moved.target(s.ID, s.Address)); at != g.cfg.Advertise {
			return at
		}
	}
	return ""
}

// Away is where the log has this node while it is elsewhere and therefore has no say; empty otherwise. needed tells
// that its group cannot elect a leader without it.
func (g *Group) Away() (addr string, needed bool) {
	if !g.isAway() {
		return "", false
	}
	voters, votes := 0, false
	servers, err := g.recordedServers()
	if err != nil {
		return g.recordedAddr(), false
	}
	for _, s := range servers {
		if s.Voter {
			voters++
			votes = votes || s.ID == state.NodeID(g.cfg.ID)
		}
	}
	return g.recordedAddr(), votes && voters < minOthers
}

// StayHere gives a node that is away its say, because nobody is where the log has it.
func (g *Group) StayHere() {
	if g.away.is.CompareAndSwap(true, false) {
		g.announceLeader()
		g.proposeEmpty()
	}
}
