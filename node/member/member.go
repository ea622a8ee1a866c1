// Package member keeps a node in its cell: it reports to the leader by heartbeats what goes on here, joins when the
// leader does not know this incarnation, finds out when the node has caught up with the log, and when it may not be
// part of the cell as it is: with another history, or as a copy of a folder whose node runs.
//
// Member.Run is its one goroutine, the caller's; a store that has to be read in full is compared in another, which Run
// waits for. There is no lock: what others ask for is atomic.
package member

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskhang"
	"github.com/datanode/datanode/node/folder"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// cutOffAfter is how long a node waits for a leader to answer it before it sends its clients elsewhere. A leader that
// is lost is replaced in less, and then waiting is right, since nobody else has one either.
const cutOffAfter = 8 * time.Second

// Network is the node's connections for calls. Its methods may be called from any goroutine.
type Network interface {
	// Conn is a working connection to the node at addr; an empty node is not checked. Its error is a *wire.Error, and
	// says that nothing was sent.
	Conn(ctx context.Context, node, addr string) (*mux.Conn, error)
	// Vouch notes who is in the group by the cell's own word.
	Vouch(members []string)
}

// Options are what a Member needs; all must be set. The functions may be called from any goroutine.
type Options struct {
	Node        state.NodeID
	Addr        string // what others dial
	Incarnation uint64
	Dir         string           // the data folder, for errors
	RunsBefore  []uint64         // the incarnations that ran on this store, the newest first
	Bootstrap   []raftlog.Server // nodes named at the start, that founded the cell
	Join        []string         // addresses named at the start, of a cell to enter

	Log         *raftlog.Group
	Folder      *folder.Folder
	Network     Network
	Leader      *lead.Leader
	Divergences *lead.Divergences
	Hang        *diskhang.Watch
	Clock       clock.Clock
	Logger      *slog.Logger
	Heartbeat   time.Duration
	DownAfter   time.Duration // after which a silent node is called down; one look is over by then

	// Describe completes a heartbeat with what this node's store, disk and programs are like.
	Describe func(*wire.Heartbeat)
	// Heard gets what the leader has answered to a heartbeat, which is nil while this node leads itself.
	Heard func(beat *wire.Heartbeat, reply *wire.HeartbeatReply)
	// DiskNews is closed when the leader should get at once what Describe says.
	DiskNews func() <-chan struct{}
	// WhoIsAt asks an address who is there; nobody is an empty hello, and an error that somebody does not say.
	WhoIsAt func(ctx context.Context, addr string) (wire.Hello, error)
	// StoreOpen reports whether the store has been opened to the end. Reconcile waits for that.
	StoreOpen func() bool
	// Reconcile makes the store what a view says that it should be.
	Reconcile func(ctx context.Context, view *state.View) error
	// IsReady reports whether the node has caught up since it started, and BecomeReady says that it has, once.
	IsReady     func() bool
	BecomeReady func()
	// Fail stops the node, for good.
	Fail func(error)
}

// Member is one node's part in its cell. Its methods may be called from any goroutine.
type Member struct {
	o           Options
	lastAtStart state.Index // the last entry in the log when it was opened

	beaten      atomic.Pointer[time.Time] // when the leader last took a heartbeat of this node; nil: never
	reconciling atomic.Bool               // the store is being compared with the log, beside the heartbeats
	slow        sync.WaitGroup            // of that
}

// New makes the part of a node whose log is open.
func New(o Options) *Member { return &Member{o: o, lastAtStart: o.Log.LastAtOpen()} }

// Run sends heartbeats until ctx ends.
func (m *Member) Run(ctx context.Context) {
	defer m.slow.Wait()
	said := ""
	for {
		news, hangs, pause := m.o.DiskNews(), m.o.Hang.Changed(), m.o.Heartbeat
		err := m.beatOnce(ctx)
		if err == nil {
			now := m.o.Clock.Now()
			m.beaten.Store(&now)
		}
		if refused := (*RefusedError)(nil); errors.As(err, &refused) {
			m.o.Fail(err)
			return
		}
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error() // once: the next attempt is due in a moment
			level := slog.LevelInfo
			if m.o.Folder.AdmittedBy() == "" && len(m.o.Join) > 0 {
				level = slog.LevelWarn // nobody else will say why the node does not come up
			}
			m.o.Logger.Log(ctx, level, "cannot reach the cell yet, trying again", "error", err)
		}
		if m.o.Hang.Err() != nil {
			pause = min(pause, diskhang.Look)
		}
		select {
		case <-m.o.Clock.After(pause):
		case <-hangs:
		case <-news: // the sooner the leader knows, the fewer replicas are given to a full disk
		case <-ctx.Done():
			return
		}
	}
}

// CutOff says that the leader has not answered this node for so long that it has called it down by now. Such a node
// must not keep its clients waiting: others may reach the leader.
func (m *Member) CutOff() error {
	at := m.beaten.Load()
	if at == nil || m.o.Log.IsLeader() {
		return nil
	}
	silent := m.o.Clock.Now().Sub(*at)
	if silent <= cutOffAfter {
		return nil
	}
	return wire.Errorf(0, wire.CodeUnavailable, "%s has had no answer of the cell's leader for %s; ask another node",
		m.o.Node, silent.Round(time.Second))
}

// RefusedError is the cell's word that this node can never be part of it as it is.
type RefusedError struct{ error }

// Unwrap is what the cell said.
func (e *RefusedError) Unwrap() error { return e.error }

// beatOnce is one look at the cell; life is as long as the node's.
func (m *Member) beatOnce(life context.Context) error {
	ctx, cancel := context.WithTimeout(life, m.o.DownAfter)
	defer cancel()
	if err := m.lookForOriginal(ctx); err != nil {
		return err
	}
	if m.o.Log.IsLeader() {
		return m.beatAsLeader(ctx, life)
	}
	if err := m.o.Hang.Err(); err != nil {
		m.reportHang(ctx)
		return err
	}
	if leader, _ := m.o.Log.Leader(); leader == "" {
		return m.join(ctx) // a new node has no log yet that could name the leader
	}
	reply, err := m.BeatLeader(ctx)
	if err != nil {
		return err
	}
	if !reply.Known {
		return m.join(ctx)
	}
	return m.catchUp(ctx, life, state.Index(reply.Commit))
}

// ToLeader is a connection to the leader, which is another node.
func (m *Member) ToLeader(ctx context.Context) (*mux.Conn, error) {
	id, addr := m.o.Log.Leader()
	switch {
	case id == "" || addr == "":
		return nil, wire.Errorf(0, wire.CodeUnavailable,
			"the cell has no leader now; a majority of the voters must be up")
	case id == m.o.Node:
		return nil, wire.Errorf(0, wire.CodeUnavailable, "%s has just become the leader; try again", id)
	}
	return m.o.Network.Conn(ctx, string(id), addr)
}

func (m *Member) askLeader(ctx context.Context, beat *wire.Heartbeat) (reply wire.HeartbeatReply, err error) {
	conn, err := m.ToLeader(ctx)
	if err != nil {
		return reply, err
	}
	return ask[wire.HeartbeatReply](ctx, conn, wire.OpHeartbeat, beat)
}

// ask makes a call on conn, and decodes what comes back.
func ask[Reply any](ctx context.Context, conn *mux.Conn, op wire.OpType, body any) (reply Reply, err error) {
	answer, err := conn.Call(ctx, mux.Request{Op: op, Session: op.SessionFor(body), Body: body})
	if err != nil {
		return reply, err
	}
	err = answer.Decode(&reply)
	return reply, err
}

// BeatLeader sends a heartbeat to another node, which says where the log is if it leads.
func (m *Member) BeatLeader(ctx context.Context) (wire.HeartbeatReply, error) {
	beat := m.Beat()
	reply, err := m.askLeader(ctx, beat)
	if err == nil {
		m.o.Heard(beat, &reply)
	}
	return reply, m.compareReply(beat, reply, err)
}

// Beat is a heartbeat of this node as it is now.
func (m *Member) Beat() *wire.Heartbeat {
	m.o.Log.Now() // so that a node that comes to lead knows how much time has gone by
	at := m.o.Log.Chain()
	beat := &wire.Heartbeat{
		Node: string(m.o.Node), Addr: m.o.Addr, Incarnation: m.o.Incarnation,
		Applied: uint64(at.Index), Chain: at.Hash[:], Level: uint8(state.LevelNow),
		// A node that drains stays ready: called down, the extents that its last calls write to would be sealed.
		Ready: m.o.IsReady() && m.o.Hang.Err() == nil,
	}
	m.o.Describe(beat)
	return beat
}

func (m *Member) beatAsLeader(ctx, life context.Context) error {
	m.o.Leader.Heard(m.Beat())
	m.o.Heard(nil, &wire.HeartbeatReply{Serving: m.o.Leader.Serving()})
	if !m.o.IsReady() {
		if err := m.o.Log.Barrier(ctx); err != nil {
			return err
		}
	}
	view := m.o.Log.View()
	if view.Cell == "" {
		return nil // not founded yet
	}
	node := view.Node(m.o.Node)
	if node == nil || node.Incarnation != m.o.Incarnation || node.Addr != m.o.Addr || node.Level != state.LevelNow {
		if _, err := m.o.Leader.Admit(ctx, m.joinRequest()); err != nil {
			return err
		}
	}
	return m.catchUp(ctx, life, m.o.Log.CommitIndex())
}
