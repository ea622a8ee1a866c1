package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

const (
	// sharedPiece is how much a copy reads or writes at once while clients are served, and sharedSync how much it
	// leaves to one sync: what a client wants then waits behind no more than that.
	sharedPiece = 64 << 10
	sharedSync  = 1 << 20
	// restParts is how long copies rest after a piece, as a multiple of what it took.
	restParts = 4
	// mostRest bounds the rest after a piece, so that copies go on however busy clients keep the node: together
	// they get at least sharedPiece in that time, and in what the piece itself takes.
	mostRest = 8 * time.Millisecond
	// clientsFor is for how long after its last piece a client counts as being served: longer than from one get to
	// the next, so that a caller who makes one call after the other is there all the time.
	clientsFor = 30 * time.Millisecond
)

// diskShares lets clients go before copies at this node's disk and processors. While clients are served, all copies of
// the node together do one small piece, then rest for restParts times as long as it took, or for mostRest if that is
// less. A busier disk so makes for longer rests. While no client is served, nobody waits.
type diskShares struct {
	now   func() time.Time
	after func(time.Duration) <-chan struct{}

	served     atomic.Int64 // when a client was last served here, in nanoseconds since 1970
	neighbours atomic.Int64 // until when another node of this machine is taken to serve clients, likewise

	turn chan struct{} // holds a token while a copy does its piece, or waits to
	next time.Time     // when the next piece may begin; whoever has the turn owns it
}

func newDiskShares(now func() time.Time, after func(time.Duration) <-chan struct{}) *diskShares {
	return &diskShares{now: now, after: after, turn: make(chan struct{}, 1)}
}

// client notes that a client is being served.
func (s *diskShares) client() { s.served.Store(s.now().UnixNano()) }

// serves tells whether clients are being served here.
func (s *diskShares) serves() bool { return s.now().UnixNano()-s.served.Load() < int64(clientsFor) }

// neighbourServes notes that another node of this machine is taken to serve clients for so long.
func (s *diskShares) neighbourServes(length time.Duration) {
	s.neighbours.Store(s.now().Add(length).UnixNano())
}

// shared tells whether the disk and the processors have to be shared with clients now.
func (s *diskShares) shared() bool { return s.serves() || s.now().UnixNano() < s.neighbours.Load() }

// copying is one copy's use of the shares. The zero value is for what waits for nobody.
type copying struct {
	*diskShares
	urgent bool // waits for nobody either
}

// copying is the share of a copy of an extent. While it has a single replica left, nothing comes before its repair.
func (n *Node) copying(e *state.Extent) copying {
	return copying{n.disks, lastReplica(n.log.View(), e)}
}

// yields tells whether clients go first now.
func (c copying) yields() bool { return c.diskShares != nil && !c.urgent && c.shared() }

// piece is how many of n bytes to do at once.
func (c copying) piece(n int) int {
	if !c.yields() {
		return n
	}
	return min(n, sharedPiece)
}

// do does one piece, when it is its turn.
func (c copying) do(ctx context.Context, piece func() error) error {
	if !c.yields() {
		return piece()
	}
	select {
	case c.turn <- struct{}{}: // those who wait get it in the order in which they came
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turn }()
	begin := c.now()
	if rest := c.next.Sub(begin); rest > 0 && c.yields() {
		select {
		case <-c.after(rest):
		case <-ctx.Done():
			return ctx.Err()
		}
		begin = c.now()
	}
	err := piece()
	end := c.now()
	c.next = end.Add(min(restParts*end.Sub(begin), mostRest))
	return err
}

// lastReplica tells whether at most one whole replica of the extent is on nodes that are up.
func lastReplica(view *state.View, e *state.Extent) bool {
	live := 0
	for _, r := range e.Replicas {
		if node := view.Node(r.Node); r.State == state.ReplicaWhole && node != nil && node.State == state.NodeUp {
			live++
		}
	}
	return live <= 1
}
