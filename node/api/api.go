// Package api serves the calls that look at a cell and those that submit to it: operations, extents, nodes, settings,
// policies, the log, a node's own state. What moves bytes is in node/datapath and node/replica, and what nodes say to
// each other in node/lead.
//
// Each handler serves one call and ends with it. Who may call, and that the leader serves what only it can, is checked
// before: see the routes of package node. What only looks answers from this node's state, which may be behind.
//
// Goroutines: none of its own; handlers run in those of their calls. Locks: none; looks at a view do not wait for the
// log. All who ask for health or connections at once are answered with one look.
package api

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/node/scrub"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Store is what this node has on its disks. Its methods may be called from any goroutine.
type Store interface {
	// IDs lists the extents with a replica, and Staged those with one that is being copied, ascending.
	IDs() []extent.ID
	Staged() []extent.ID
}

// Options are what an API is made of. All are needed. The functions may be called from any goroutine.
type Options struct {
	Node    state.NodeID // this node
	Version string       // of this build

	Log         *raftlog.Group
	Store       Store
	Disks       func() []wire.Disk // of this node
	ChangeDisk  func(c *mux.ServerCall, disk, change string) (wire.Disk, error)
	Modules     *modules.Registry
	Replicas    *replica.Replicas
	Scrub       *scrub.Scrubber
	Quotas      *quota.Quotas
	Lead        *lead.Leader
	Divergences *lead.Divergences

	// Turns are those at costly work, and Sharer is who shares with others what a call takes.
	Turns  fair.Classes
	Sharer func(*mux.ServerCall) string

	// Relay passes a call on to another node. The call is answered then, unless there is an error.
	Relay func(context.Context, *mux.ServerCall, state.NodeID) error
	// CatchUp waits until this node has applied all that the leader had committed when it was asked.
	CatchUp func(context.Context) error
	// FreshExtent is what the cell knows about an extent now. Its error is the caller's: there is none, or it is deleted.
	FreshExtent func(context.Context, state.ExtentID) (*state.Extent, error)
	// Stored refuses the end of a range of an open extent that no node is known to have stored.
	Stored func(ctx context.Context, e *state.Extent, end uint64) *wire.Error
	// CheckDeletes refuses in the session of deletes what is not only about them.
	CheckDeletes func(c *mux.ServerCall, deletes bool) error

	Ready func() bool             // this node has caught up with its log since it started
	Disk  func() diskspace.Status // with that its store has failed
	// Health is what checks of this node find. It returns within seconds, whatever the node waits for.
	Health func() []wire.HealthCheck
	Conns  func() []wire.Connection
	// Voters are the nodes with a vote, and whether they answer. led says that a leader is known.
	Voters func(ctx context.Context, view *state.View, led bool) []wire.Voter

	Draining <-chan struct{} // closed when calls that only wait are to end
	Stopped  <-chan struct{} // closed when all are
	Clock    clock.Clock
	Logger   *slog.Logger
}

const (
	listLimit   = 1000             // items of one page
	maxWait     = time.Minute      // of one OpWait; the caller asks again
	catchUpWait = 10 * time.Second // for an operation that this node has not heard of yet

	// FewOps is how many operations are looked at without a turn: it is cheap, and all who wait look at each change.
	FewOps = 16
	// maxSubmissions bounds one submit, and one wait.
	maxSubmissions = 1024
)

// API serves calls. Its methods may be called from any goroutine.
type API struct {
	o     Options
	looks singleflight.Group // by what is looked at
}

// New is an API over what is open.
func New(o Options) *API { return &API{o: o} }

// asker is who a call is made for, as it is in the log: nothing while a node of the cell would not understand it.
func (a *API) asker(c *mux.ServerCall) state.Identity {
	return a.o.Log.View().Named(state.Identity(c.Asker()))
}

// turn waits for a call's turn at a class of work. done ends it.
func (a *API) turn(ctx context.Context, c *mux.ServerCall, w fair.Work) (done func(), err error) {
	return a.o.Turns.Take(ctx, w, a.o.Sharer(c))
}

// atNode passes a call on that names another node to look at. It reports whether it has.
func (a *API) atNode(ctx context.Context, c *mux.ServerCall, node string) (relayed bool, err error) {
	if node == "" || node == string(a.o.Node) {
		return false, nil
	}
	return true, a.o.Relay(ctx, c, state.NodeID(node))
}

func parseOp(s string) (state.OpID, error) {
	id, err := state.ParseOpID(s)
	if err != nil {
		return 0, wire.Errorf(0, wire.CodeInvalid, "%v", err)
	}
	return id, nil
}

func pageLimit(asked int) int {
	if asked <= 0 {
		return listLimit
	}
	return min(asked, listLimit)
}
