// Package replica is what a node does with its replicas: it carries out operations and takes part in those of others.
//
//   - Replicas serves the steps that other nodes ask for, each checked against the operation that it says it is for;
//     reads and verifies; says which replicas are damaged; and compares, once at the start, what is on disk with what
//     the log says.
//   - Executor works on the operations that the log has this node carry out, and drops what must go.
//   - Reachability calls other nodes for steps, and knows which of them are down or have just failed.
//
// Nothing here acts on a message alone: a step is done only for an operation that runs under the caller's fence, by
// the log that this node has applied.
//
// Goroutines: Executor.Run has one for each attempt and one for drops; Executor.Wait waits for them. A seal has one for
// each replica that it asks; one whose disk hangs lasts for as long as the disk does. Locks: Executor and Reachability
// have one each and hold it for no call to the disk or the network; Replicas has none.
package replica

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Options is what a node's replicas need of the rest of it. The functions may be called from any goroutine.
type Options struct {
	ID     state.NodeID
	Log    Log
	Store  Store
	Reach  *Reachability
	Disk   *diskshare.Shares
	Memory *Memory // of copies
	Clock  clock.Clock
	Logger *slog.Logger

	// LagLimit is how long a step waits for this node to apply the entry that lets it begin.
	LagLimit time.Duration
	// DownAfter is the silence after which the leader calls a node down: a seal waits for no longer at once.
	DownAfter time.Duration

	// Propose brings commands into the log.
	Propose report.Propose
	// Reports takes what is said of replicas and operations. Somebody else runs it.
	Reports *report.Queue
	// TakeSpace asks for room on this node's disk. Its error says why there is none.
	TakeSpace func(op wire.OpType, bytes int) error
	// Lost reports whether this node cannot say what it has of an extent, because a disk was given up. nil: never.
	Lost func(extent.ID) bool
	// AskSeal asks the cell for the seal of an extent, in the background.
	AskSeal func(state.ExtentID)
	// Silent reports whether this node leads, and has had no heartbeat of a node for a while.
	Silent func(state.NodeID) bool
	// Verified notes that this node has just written its replica of an extent and found it to be what the log says.
	Verified func(state.ExtentID)
	// TakeTurn waits for a turn at reading a whole replica. done ends it.
	TakeTurn func(ctx context.Context, sharer string) (done func(), err error)
	// Sharer is who shares with others what a call takes.
	Sharer func(*mux.ServerCall) string
	// Self is this node as a requester.
	Self Requester
}

// Replicas are those of one node. Its methods may be called from any goroutine.
type Replicas struct {
	id      state.NodeID
	log     Log
	store   Store
	reach   *Reachability
	clock   clock.Clock
	logger  *slog.Logger
	opt     Options
	refused map[wire.OpType]*atomic.Uint64 // steps; the keys never change

	sealer   *sealer
	sealPart *sealPart
	suspects *suspects
	copier   *copier
	rewriter *rewriter
	buffers  buffers
}

// New makes the replicas of a node whose log and store are open.
func New(o Options) *Replicas {
	rs := &Replicas{
		id: o.ID, log: o.Log, store: o.Store, reach: o.Reach, clock: o.Clock, logger: o.Logger, opt: o,
		refused: map[wire.OpType]*atomic.Uint64{},
	}
	rs.sealPart = &sealPart{id: o.ID, log: o.Log, store: o.Store}
	rs.sealer = &sealer{
		id: o.ID, log: o.Log, clock: o.Clock, logger: o.Logger, step: o.Reach.Step, part: rs.sealPart,
		silent: o.Silent, downAfter: o.DownAfter,
	}
	rs.suspects = &suspects{id: o.ID, log: o.Log, logger: o.Logger, reports: o.Reports, askSeal: o.AskSeal}
	rs.copier = &copier{
		id: o.ID, store: o.Store, log: o.Log, logger: o.Logger, reach: o.Reach, disk: o.Disk, suspects: rs.suspects,
		memory:    o.Memory,
		pace:      diskshare.NewPace(o.Clock, o.ID, func() *state.View { return o.Log.View() }),
		takeSpace: o.TakeSpace, verified: o.Verified,
		verify: func(ctx context.Context, e *state.Extent, node state.NodeID) { rs.Verify(ctx, o.Self, e, node) },
	}
	rs.rewriter = &rewriter{store: o.Store, log: o.Log, logger: o.Logger, disk: o.Disk, unread: rs.NoteUnread, id: o.ID}
	for _, t := range StepTypes() {
		rs.refused[t] = new(atomic.Uint64)
	}
	return rs
}

// Pace waits until this node's copies may write so many bytes more.
func (rs *Replicas) Pace(ctx context.Context, bytes int) error {
	return rs.copier.pace.Take(ctx, bytes)
}

// Refused is how many steps of a type were refused since the start, because they are none of what runs.
func (rs *Replicas) Refused(step wire.OpType) uint64 { return rs.refused[step].Load() }

// proves reports whether all nodes carry out the commands about damaged extents and doubted replicas.
func (rs *Replicas) proves() bool { return rs.log.View().AllReach(state.LevelProven) }

// Each calls f for each replica of an extent at once and waits.
func Each(e *state.Extent, f func(node state.NodeID) error) map[state.NodeID]error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := map[state.NodeID]error{}
	for _, r := range e.Replicas {
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := f(r.Node)
			mu.Lock()
			defer mu.Unlock()
			errs[r.Node] = err
		}()
	}
	wg.Wait()
	return errs
}
