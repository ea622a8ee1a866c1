package node

import (
	"context"
	"sync"
	"time"

	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// hangAfter is how long a write to the store may take before the disk counts as hung. The log has its own limit.
	hangAfter = 2500 * time.Millisecond
	// hangLook is how often it is looked whether one does, and how often the cell is told while one does.
	hangLook = 250 * time.Millisecond
	// tellLimit bounds one attempt to tell a node.
	tellLimit = time.Second
)

// hang is whether this node's disk hangs, be it under the log or the extents. A node whose disk hangs answers pings
// and follows nobody's words any more; it must say so itself, from memory, or the cell would wait for it. It is not
// ready until the disk answers, leads nobody, and lets go of those who wait for it.
type hang struct {
	n *Node

	mu     sync.Mutex
	why    error         // Guarded by mu. What hangs; nil: nothing.
	begins chan struct{} // Guarded by mu. Closed while the disk hangs.
	change chan struct{} // Guarded by mu. Closed and replaced whenever that changes.
}

func newHang(n *Node) *hang {
	return &hang{n: n, begins: make(chan struct{}), change: make(chan struct{})}
}

// hangs says what hangs, nil for nothing.
func (n *Node) hangs() error {
	n.hang.mu.Lock()
	defer n.hang.mu.Unlock()
	return n.hang.why
}

// begun is closed while the disk hangs.
func (h *hang) begun() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.begins
}

func (h *hang) changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.change
}

// run looks at the disk.
func (h *hang) run(ctx context.Context) {
	for {
		log := h.n.log.HangChanged()
		h.look(ctx)
		select {
		case <-log:
		case <-h.n.after(hangLook):
		case <-ctx.Done():
			return
		}
	}
}

func (h *hang) look(ctx context.Context) {
	why := h.n.log.Hangs()
	if longest := h.n.watched.Longest(); why == nil && longest > hangAfter {
		why = wire.Errorf(0, wire.CodeUnavailable, "the disk hangs: a write to the store of %s has taken %s so far; ask another node",
			h.n.id, longest.Round(100*time.Millisecond))
	}
	if !h.set(why) {
		return
	}
	if why == nil {
		h.n.logger.Warn("the disk answers again")
		return
	}
	h.n.logger.Warn("not ready until the disk answers", "error", why)
	if !h.n.log.IsLeader() {
		return
	}
	limited, cancel := context.WithTimeout(ctx, h.n.time.downAfter)
	defer cancel()
	if err := h.n.log.TransferLeadership(limited); err != nil {
		h.n.logger.Warn("leadership not handed on", "error", err)
	}
}

// set answers whether a hang has begun or ended.
func (h *hang) set(why error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.why != nil
	h.why = why
	if is := why != nil; is == was {
		return false
	}
	if why != nil {
		close(h.begins)
	} else {
		h.begins = make(chan struct{})
	}
	close(h.change)
	h.change = make(chan struct{})
	return true
}

// tell says to whoever may lead that this node is not ready. Its own log, when it hangs, cannot say who leads.
func (h *hang) tell(ctx context.Context) {
	var wg sync.WaitGroup
	beat := h.n.beat()
	for _, addr := range h.n.cellAddrs() {
		wg.Go(func() {
			limited, cancel := context.WithTimeout(ctx, tellLimit)
			defer cancel()
			conn, err := h.n.transport.Conn(limited, "", addr)
			if err == nil {
				_, err = ask[wire.HeartbeatReply](limited, conn, wire.OpHeartbeat, beat)
			}
			if err != nil { // most of them do not lead
				h.n.logger.Debug("not told that the disk hangs", "addr", addr, "error", err)
			}
		})
	}
	wg.Wait()
}

// unlessStuck is replica.Each, but when this node's disk hangs it waits no longer. f goes on then, so that what it is
// given may not change any more.
func (h *hang) unlessStuck(e *state.Extent, f func(state.NodeID) error) map[state.NodeID]error {
	hangs, done := h.begun(), make(chan map[state.NodeID]error, 1)
	go func() { done <- replica.Each(e, f) }()
	select {
	case errs := <-done:
		return errs
	case <-hangs:
		return map[state.NodeID]error{h.n.id: wire.Errorf(0, wire.CodeUnavailable, "the disk hangs")}
	}
}
