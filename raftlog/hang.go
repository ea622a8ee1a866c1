package raftlog

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/wire"
)

// A disk may hang rather than fail. The engine writes on its main loop, and so can do nothing meanwhile; but its
// heartbeats come from other goroutines, so that its followers go on following a leader that gets nothing done. A
// write that takes long therefore counts in two stages. After Timing.StoreHang this node is no leader any more,
// whatever its engine believes: it asks the follower that is furthest on to stand for election, says nothing more
// to the others, and ends the calls that wait for it. If the write returns, all is as before, except that another
// leads. After Timing.StoreWrite it has failed: see guard.

// errHangs is what this node answers the others, and its engine, while its disk hangs.
var errHangs = errors.New("the disk of this node's log hangs")

// hang is whether a write to the log hangs now.
type hang struct {
	mu     sync.Mutex
	what   string        // Guarded by mu. The write; empty while none hangs.
	since  time.Time     // Guarded by mu.
	begins chan struct{} // Guarded by mu. Closed while a write hangs.
	change chan struct{} // Guarded by mu. Closed and replaced whenever one begins or ends.
}

func newHang() *hang { return &hang{begins: make(chan struct{}), change: make(chan struct{})} }

// begun is closed while a write hangs.
func (h *hang) begun() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.begins
}

func (h *hang) begin(what string, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.what != "" {
		return
	}
	h.what, h.since = what, since
	close(h.begins)
	h.announceLocked()
}

// end answers how long the write took, zero if it did not hang.
func (h *hang) end() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.what == "" {
		return 0
	}
	h.what, h.begins = "", make(chan struct{})
	h.announceLocked()
	return time.Since(h.since)
}

func (h *hang) announceLocked() {
	close(h.change)
	h.change = make(chan struct{})
}

// err says what hangs, nil while nothing does.
func (h *hang) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.what == "" {
		return nil
	}
	return unavailable(wire.NotDone, "the disk hangs: %s has taken %s so far", h.what,
		time.Since(h.since).Round(100*time.Millisecond))
}

// Hangs says which write to the log hangs, nil while none does. A node whose log hangs leads nobody, and is not ready.
func (g *Group) Hangs() error { return g.hang.err() }

// HangChanged is closed when a write to the log begins to hang, or no longer does. Take it before asking Hangs.
func (g *Group) HangChanged() <-chan struct{} {
	g.hang.mu.Lock()
	defer g.hang.mu.Unlock()
	return g.hang.change
}

// hangs is called when a write has taken too long. It does not wait.
func (g *Group) hangs(what string, since time.Time) {
	g.hang.begin(what, since)
	g.cfg.Logger.Warn("the disk hangs; this node leads nobody and is not ready until it answers", "what", what)
	g.announceLeader()
	if g.started.Load() && g.begin() {
		go func() {
			defer g.calls.Done()
			g.abdicate()
		}()
	}
}

// answers is called when a write that hung has returned.
func (g *Group) answers() {
	if took := g.hang.end(); took > 0 {
		g.net.mute(false)
		g.cfg.Logger.Warn("the disk answers again", "took", took.Round(time.Millisecond).String())
		g.announceLeader()
	}
}

// abdicate ends this node's leadership: it asks the voters for an election, the best heir first, until one stands, and
// says nothing more until the disk answers. The engine would do the first on its main loop, which waits for the disk.
func (g *Group) abdicate() {
	if g.raft.State() != raft.Leader {
		return
	}
	g.askHeirs()
	g.net.mute(true)
	if g.Hangs() == nil { // it has answered meanwhile
		g.net.mute(false)
	}
}

func (g *Group) askHeirs() {
	heirs, err := g.heirs()
	if err != nil {
		g.cfg.Logger.Warn("no voter asked to lead", "err", err)
		return
	}
	ask := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(g.cfg.ID),
		Addr: g.net.EncodePeer(raft.ServerID(g.cfg.ID), raft.ServerAddress(g.cfg.Advertise)),
	}}
	for _, h := range heirs {
		err := g.net.TimeoutNow(h.ID, h.Address, ask, &raft.TimeoutNowResponse{})
		if err == nil {
			g.cfg.Logger.Info("asked another voter to lead", "node", string(h.ID))
			return
		}
		g.cfg.Logger.Info("a voter did not take the lead", "node", string(h.ID), "err", err)
	}
}

// watch calls hangs, and then fail, if a write does not return in time.
func (s *guard) watch(what string) (done func()) {
	began := time.Now()
	var mu sync.Mutex
	over := false // under mu
	hung := time.AfterFunc(s.hang, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			s.hangs(what, began)
		}
	})
	failed := time.AfterFunc(s.timeout, func() {
		s.fail(fmt.Errorf("%w: %s has taken over %s", errHung, what, s.timeout))
	})
	return func() {
		failed.Stop()
		if hung.Stop() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		over = true
		s.answers()
	}
}
