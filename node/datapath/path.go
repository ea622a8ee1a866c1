// Package datapath is what a node does with the bytes of clients: it stores what they put, on all replicas of an
// extent that this node is the primary of, and sends what they read from whichever replica can be read.
//
//   - Path serves puts, appends and reads.
//   - appenders are the open extents that this node appends to: which of them takes a put, and when one is given up.
//   - creator has the cell make a new one; background has the cell seal or delete those that are given up.
//
// The log decides what an extent is; nothing here acts on more than this node has applied. Quotas are kept to by
// package quota, steps at other nodes are made by package replica.
//
// Goroutines: Run has two, which end with its context, and an append has one for each replica, which end when the
// replica has answered or the time for a step is over; one at a disk that hangs lasts as long as the disk does. Locks:
// appenders.mu covers which extents are open and is held for no call to the disk or the network but one Stat; the turn
// of an appender is held for a whole append. Whoever has a turn may take the lock, not the other way round.
package datapath

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Log is the operation log, as far as the data path needs it. Its methods may be called from any goroutine.
type Log interface {
	// View is what this node has applied, from memory.
	View() *state.View
	// Changed is closed when more has been applied than when it was called.
	Changed() <-chan struct{}
	// WaitApplied returns when this node has applied an entry and all before it, or with an error of ctx or the log.
	WaitApplied(context.Context, state.Index) error
}

// Store is where this node's replicas are: an extent.Store, or several disks that act as one. What each method promises
// stands there. Its methods may be called from any goroutine.
type Store interface {
	Append(id extent.ID, fence extent.Fence, offset uint64, parts ...[]byte) error
	Stream(id extent.ID, fence extent.Fence, offset uint64) (*extent.Stream, error)
	Acknowledge(id extent.ID, n uint64)
	Stat(id extent.ID) (extent.Info, error)
	CheckBirth(id extent.ID, birth extent.Birth) error
	// Failed is why nothing at all can be written here.
	Failed() error
}

// Space is the room on this node's disks.
type Space interface {
	// Take asks for room for so many bytes. Its error says why there is none.
	Take(op wire.OpType, bytes int) error
}

// Options is what the data path needs of the rest of a node. All fields must be set. The functions may be called from
// any goroutine.
type Options struct {
	ID       state.NodeID
	Log      Log
	Store    Store
	Replicas *replica.Replicas
	Reach    *replica.Reachability
	Quotas   *quota.Quotas
	Share    *diskshare.Shares
	Space    Space
	Clock    clock.Clock
	Logger   *slog.Logger

	StepLimit      time.Duration // for one append, on all replicas
	SenderLimit    time.Duration // for a client to send the next chunk of a put
	CreatePatience time.Duration // of a put, with creates that fail
	IdleLook       time.Duration // how often it is looked for open extents that nobody puts to; see IdleLooks
	Tick           time.Duration // for which a look at changes of the log waits for more of them

	// CatchUp returns when this node has applied what the leader had committed when it was called.
	CatchUp func(context.Context) error
	// Works says why this node can store nothing now, from memory: its disk hangs.
	Works func() error
	// InTouch says why this node can have nothing created now, from memory: no leader answers it.
	InTouch func() error
	// Each calls f for each replica of an extent at once and waits for all, unless this node's disk hangs: then it
	// returns an error of this node, and f goes on.
	Each func(e *state.Extent, f func(state.NodeID) error) map[state.NodeID]error
	// Create submits a create until it is known what became of it, or ctx ends. It is admitted once at most.
	Create func(context.Context, wire.Submission) (wire.Submitted, error)
	// Submit submits an operation of the cell's own, once. After an error it may have been admitted.
	Submit func(context.Context, wire.Submission) error
	// Connect is a connection to a node of the cell. It is shared and not to be closed.
	Connect func(context.Context, state.NodeID) (*mux.Conn, error)
	// Relay passes a client's call on to a node, and its answer back.
	Relay func(context.Context, *mux.ServerCall, state.NodeID) error
	// Asker is whose bytes a call brings; empty where nobody can tell.
	Asker func(*mux.ServerCall) state.Identity
	// Self is this node as who asks for something.
	Self state.Identity
	// NoteMisuse counts an answer to this node that was to something else than it had asked.
	NoteMisuse func()
}

// Path is the data path of one node. Its methods may be called from any goroutine.
type Path struct {
	o          *Options
	background *background
	creator    *creator
	appends    *appenders
	lengths    lengths
}

// New makes the data path of a node whose log and store are open.
func New(o Options) *Path {
	b := &background{o: &o, wanted: make(chan wanted, 2*maxOpenExtents)}
	c := &creator{o: &o, background: b}
	return &Path{o: &o, background: b, creator: c, appends: newAppenders(&o, c, b)}
}

// Run does what goes on in the background, until ctx ends.
func (dp *Path) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { dp.background.run(ctx) })
	wg.Go(func() { dp.appends.watch(ctx) })
	wg.Wait()
}

// Open is how many extents this node appends to.
func (dp *Path) Open() int { return dp.appends.open() }

// SealIdle is one look at the shared extents: those that nothing was appended to for IdleLooks looks are sealed.
// For tests.
func (dp *Path) SealIdle() { dp.appends.sealIdle() }

// AskSeal has the cell seal an extent, in the background. It does not wait, and does not say whether that comes about.
func (dp *Path) AskSeal(id state.ExtentID) { dp.background.askSeal(id) }

// AskDiscard has the cell delete an extent that nobody was to write to, in the background, if the log says that made
// was this node's own create of it.
// For tests.
func (dp *Path) AskDiscard(id state.ExtentID, made state.OpID) { dp.background.askDiscard(id, made) }
