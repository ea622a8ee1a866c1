package mux

import "github.com/datanode/datanode/wire"

// Bytes that are with the kernel or the peer are past all fairness: a reply waits behind them. So the
// session of repair, while others are at work on the connection, sends smaller chunks and keeps few of them on the
// way. That costs half of its throughput then, and takes a call beside it from five to eight times the p99 that it has
// alone to two or three times, on two busy cores.
const (
	// yieldFor is for how many chunks of repair another session's call is remembered.
	yieldFor = 64
	// yieldChunkParts is the size of the chunks then, as a part of a call's window, and yieldChunks how many
	// of them all calls of the session together have on the way.
	yieldChunkParts = 8
	yieldChunks     = 2
)

// noticeLocked notes that a call of session s begins.
func (c *Conn) noticeLocked(s wire.Session) {
	if s != wire.SessionRepair {
		c.yielding = yieldFor
	}
}

// pieceLocked is how many bytes the call's next chunk may have.
func (h *half) pieceLocked() int {
	if h.session != wire.SessionRepair || h.c.yielding == 0 {
		return h.c.limits.chunkBytes
	}
	return min(h.c.limits.chunkBytes, int(h.c.peer.WindowBytes)/yieldChunkParts)
}

// holdsBackLocked reports whether the call should not send a chunk now though its credit allows it. A call that
// has so little on the way that the peer may not have granted it back is never held.
func (h *half) holdsBackLocked(cost int) bool {
	if h.session != wire.SessionRepair || h.c.yielding == 0 {
		return false
	}
	window := int(h.c.peer.WindowBytes)
	return window-h.credit > window/grantParts &&
		h.c.sessions[h.session].sent+cost > yieldChunks*chunkCost(window/yieldChunkParts)
}

// sentLocked counts a chunk of the call.
func (h *half) sentLocked() {
	if h.session == wire.SessionRepair && h.c.yielding > 0 {
		h.c.yielding--
	}
}
