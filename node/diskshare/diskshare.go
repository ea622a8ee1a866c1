// Package diskshare lets clients go before copies at a node's disk and processors, and holds copies to the bytes a
// second that the cell allows them.
//
// It starts no goroutine: copies wait on their own, in the order in which they came. Shares have no lock but a token;
// a client costs the path of bytes one atomic store. Pace has one lock, and holds it for no wait.
package diskshare

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
)

const (
	// sharedPiece is how much a copy reads or writes at once while clients are served, and SyncBytes how much it
	// leaves to one sync: what a client wants then waits behind no more than that.
	sharedPiece = 64 << 10
	SyncBytes   = 1 << 20
	// restParts is how long copies rest after a piece, as a multiple of what it took.
	restParts = 4
	// mostRest bounds the rest after a piece, so that copies go on however busy clients keep the node: together
	// they get at least sharedPiece in that time, and in what the piece itself takes.
	mostRest = 8 * time.Millisecond
	// clientsFor is for how long after its last piece a client counts as being served: longer than from one get to
	// the next, so that a caller who makes one call after the other is there all the time.
	clientsFor = 30 * time.Millisecond
)

// Shares are who shares the disk. While clients are served, all copies of the node together do one small piece, then
// rest for restParts times as long as it took, or for mostRest if that is less: a busier disk makes for longer rests.
// While no client is served, nobody waits. Its methods may be called from any goroutine.
type Shares struct {
	clock clock.Clock

	served    atomic.Int64 // when a client was last served here, in nanoseconds since 1970
	colocated atomic.Int64 // until when another node of this machine is taken to serve clients, likewise

	turn chan struct{} // holds a token while a copy does its piece, or waits to
	next time.Time     // when the next piece may begin; whoever has the turn owns it
}

// New makes the shares of one disk.
func New(c clock.Clock) *Shares { return &Shares{clock: c, turn: make(chan struct{}, 1)} }

// Client notes that a client is being served.
func (s *Shares) Client() { s.served.Store(s.clock.Now().UnixNano()) }

// Serves reports whether clients are being served here.
func (s *Shares) Serves() bool {
	return s.clock.Now().UnixNano()-s.served.Load() < int64(clientsFor)
}

// ColocatedServes notes that another node of this machine is taken to serve clients for so long.
func (s *Shares) ColocatedServes(length time.Duration) {
	s.colocated.Store(s.clock.Now().Add(length).UnixNano())
}

// Shared reports whether the disk and the processors have to be shared with clients now.
func (s *Shares) Shared() bool {
	return s.Serves() || s.clock.Now().UnixNano() < s.colocated.Load()
}

// Copy is one copy's use of the shares. The zero value is for what waits for nobody.
type Copy struct {
	shares *Shares // nil: waits for nobody
	urgent bool    // waits for nobody either
}

// Copy is the share of a copy of an extent. While it has a single replica left, nothing comes before its repair.
func (s *Shares) Copy(view *state.View, e *state.Extent) Copy { return Copy{s, lastReplica(view, e)} }

// Behind is the share of a copy that clients always come before.
func (s *Shares) Behind() Copy { return Copy{shares: s} }

// Yields reports whether clients go first now.
func (c Copy) Yields() bool { return c.shares != nil && !c.urgent && c.shares.Shared() }

// Piece is how many of n bytes to do at once.
func (c Copy) Piece(n int) int {
	if !c.Yields() {
		return n
	}
	return min(n, sharedPiece)
}

// Do does one piece, when it is its turn. The error is the piece's, or the context's when it ended before.
func (c Copy) Do(ctx context.Context, piece func() error) error {
	if !c.Yields() {
		return piece()
	}
	s := c.shares
	select {
	case s.turn <- struct{}{}: // those who wait get it in the order in which they came
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	begin := s.clock.Now()
	if rest := s.next.Sub(begin); rest > 0 && c.Yields() {
		select {
		case <-s.clock.After(rest):
		case <-ctx.Done():
			return ctx.Err()
		}
		begin = s.clock.Now()
	}
	err := piece()
	end := s.clock.Now()
	s.next = end.Add(min(restParts*end.Sub(begin), mostRest))
	return err
}

// lastReplica reports whether at most one whole replica of the extent is on nodes that are up.
func lastReplica(view *state.View, e *state.Extent) bool {
	live := 0
	for _, r := range e.Replicas {
		if node := view.Node(r.Node); r.State == state.ReplicaWhole && node != nil && node.State == state.NodeUp {
			live++
		}
	}
	return live <= 1
}
