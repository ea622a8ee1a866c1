package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"

	"github.com/datanode/datanode/node/api"
	"github.com/datanode/datanode/node/audit"
	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/datapath"
	"github.com/datanode/datanode/node/diskhang"
	"github.com/datanode/datanode/node/disks"
	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/folder"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/node/member"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/node/reclaim"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/node/scrub"
	"github.com/datanode/datanode/node/submitter"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/node/web"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Node is one running datanode. Its methods may be called from any goroutine.
type Node struct {
	cfg         Config
	id          state.NodeID
	addr        string // what others dial
	incarnation uint64
	time        timing
	clock       clock.Clock // decides nothing but delays: the cell's time is the leader's, in the entries
	logger      *slog.Logger

	transport   *transport.Transport
	log         *raftlog.Group
	opened      openLog // log, for what raft calls while it is opened
	store       *extent.Store
	disks       *disks.Disks  // store and further ones, as one
	opens       chan struct{} // closed once that is done
	space       *diskspace.Disk
	policies    *modules.Registry // made when the log is open
	replicas    *replica.Replicas
	exec        *replica.Executor
	routes      map[wire.OpType]route
	submitter   *submitter.Submitter
	proposer    *report.Proposer
	reports     *report.Queue
	drops       *report.Queue // files that are gone: many at a time, and nobody waits for one
	audit       audit.Trail
	api         *api.API     // made when the log is open, as what it looks at
	lead        *lead.Leader // made when the log is open
	reach       *replica.Reachability
	scrub       *scrub.Scrubber
	reclaim     *reclaim.Reclaimer
	drainer     *disks.Drainer
	serving     atomic.Int32 // calls that bring or take bytes of clients, in flight
	hang        *diskhang.Watch
	member      *member.Member
	watched     *vfs.Watched // what the store and all else but the log is on
	plainFS     vfs.FS       // not watched: each further disk is by itself
	divergences *lead.Divergences
	data        *datapath.Path
	quotas      *quota.Quotas
	web         *web.Server // nil: no HTTP

	folder *folder.Folder

	turns fair.Classes // by class of work; the keys never change

	sessions   sessionChecks
	relay      *relay // made when the log is open
	share      *diskshare.Shares
	copyMemory *replica.Memory

	runsBefore []uint64 // the incarnations that ran on this store, the newest first

	life *lifecycle
}

// bootstrapIndex is the one entry that the log of a new cell's voter begins with: who the voters are.
const bootstrapIndex = 1

// Start opens the data folder, listens, and lets the node join its cell in the background: Ready is
// closed when it serves. The errors are for the person who started it.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.valid(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	watched := vfs.NewWatched(cfg.FS, cfg.Clock.Now)
	plain := cfg.FS
	cfg.FS = watched
	f, err := folder.Open(cfg.FS, cfg.Dir, cfg.ID)
	if err != nil {
		return nil, err
	}
	if f.AdmittedBy() == "" && len(cfg.Bootstrap) == 0 && len(cfg.Join) == 0 {
		return nil, fmt.Errorf("data folder %s belongs to no cell yet: say --bootstrap to make one or --join to enter one",
			cfg.Dir)
	}
	source, err := transport.OpenSource(cfg.TLS, cfg.ID, cfg.Clock.Now)
	if err != nil {
		return nil, err
	}
	l, err := listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	n := newNode(cfg, watched, f, l, source)
	n.plainFS = plain
	if err := n.checkHost(source); err != nil {
		n.stop(nil)
		return nil, err
	}
	if err := n.open(); err != nil {
		n.stop(nil)
		return nil, err
	}
	n.run()
	return n, nil
}

func newNode(cfg Config, watched *vfs.Watched, f *folder.Folder, l net.Listener, source *pki.Source) *Node {
	n := &Node{
		cfg: cfg, watched: watched, id: state.NodeID(cfg.ID), addr: cfg.Advertise, time: cfg.timing(), folder: f,
		incarnation: uint64(cfg.Clock.Now().UnixMicro()),
		clock:       clock.Clock{Clock: cfg.Clock}, logger: cfg.Logger.With("node", cfg.ID),
		life: newLifecycle(), opens: make(chan struct{}),
	}
	if n.addr == "" {
		n.addr = l.Addr().String()
	}
	n.share = diskshare.New(n.clock)
	n.copyMemory = replica.NewMemory(cfg.RepairMemory)
	n.routes, n.turns = n.makeRoutes(), fair.NewClasses(n.clock)
	n.divergences = lead.NewDivergences()
	n.transport = n.newTransport(l, source)
	n.sessions.logger = n.logger
	n.audit = audit.Trail{Logger: n.logger}
	return n
}

// open opens what is on disk. The listener is not served yet.
func (n *Node) open() error {
	var err error
	n.space, err = n.openSpace(n.cfg.FS, n.cfg.Dir)
	if err != nil {
		return err
	}
	if err := n.openStores(); err != nil {
		return err
	}
	var servers []raftlog.Server
	for _, p := range n.cfg.Bootstrap {
		servers = append(servers, raftlog.Server{ID: state.NodeID(p.ID), Addr: p.Addr})
	}
	moves, err := n.folder.Moves()
	if err != nil {
		return err
	}
	n.log, err = raftlog.Open(raftlog.Config{
		Addresses: moves, Dir: filepath.Join(n.cfg.Dir, folder.Log), ID: n.id, Advertise: n.addr,
		Layer: n.transport.Streams(), Bootstrap: servers, Logger: n.logger, Now: n.clock.Now,
		Held: n.folder.AdmittedBy() != "", MakeRoom: n.space.MakeRoom,
		TrailingLogs: n.cfg.trailingLogs,
	})
	if err != nil {
		return fmt.Errorf("operation log in %s: %w", n.cfg.Dir, err)
	}
	n.runsBefore, err = replica.NoteRun(n.cfg.FS, filepath.Join(n.cfg.Dir, "store"), n.incarnation)
	if err != nil && !vfs.IsNoSpace(err) {
		return fmt.Errorf("data folder %s: %w", n.cfg.Dir, err)
	} else if err != nil { // a full disk must not keep the node from starting
		n.logger.Warn("this run is not in the store's list: the next one will compare all that it holds", "error", err)
	}
	n.runsBefore = n.disks.RunsBefore(n.runsBefore)
	n.opened.group.Store(n.log)
	n.makeSubmitter()
	n.makeHang()
	n.makeQuotas()
	n.makeReplicas()
	n.makeData()
	n.makeModules()
	n.lead = n.newLeader(servers)
	n.makeMember(servers)
	n.makeAPI()
	if err := n.policies.Open(n.life.ctx); err != nil {
		return err
	}
	return n.openHTTP()
}

// run starts the node's goroutines.
func (n *Node) run() {
	n.transport.Run()
	for _, loop := range []func(context.Context){
		n.exec.Run, n.lead.Run, n.reports.Run, n.drops.Run, n.scrub.Run, n.reclaim.Run, n.drainer.Run,
		n.hang.Run, n.policies.Run, n.data.Run, n.member.Run, n.watchLog, n.space.Run, n.disks.Run, n.watchDisks,
		n.lookIntoStore,
	} {
		n.life.run(loop)
	}
}

// watchLog stops the node when its log can no longer be trusted, and learns from it the cell, and who is down.
func (n *Node) watchLog(ctx context.Context) {
	for {
		changed := n.log.Changed()
		view := n.log.View()
		if err := n.learnFolder(view); err != nil {
			n.fail(err)
			return
		}
		n.reach.Update(view)
		select {
		case <-ctx.Done():
			return
		case <-n.log.Failed():
			n.member.ReportDivergence(ctx, n.log.Err())
			n.fail(fmt.Errorf("operation log: %w", n.log.Err()))
			return
		case <-changed:
		}
	}
}

// learnFolder has the folder say what the log has told.
func (n *Node) learnFolder(view *state.View) error {
	return errors.Join(
		n.folder.LearnCell(view.Cell),
		n.folder.LearnEra(view.Era),
		n.folder.ForgetMoves(func() (bool, error) {
			_, now, err := n.log.Moved()
			return len(now) == 0, err
		}))
}

// Addr is the address that others dial.
func (n *Node) Addr() string { return n.addr }

// ID is the node's ID.
func (n *Node) ID() string { return n.cfg.ID }

// Mismatches is how many frames matched no call in flight, over all connections since the start.
// Each has closed its connection.
func (n *Node) Mismatches() uint64 {
	sum := uint64(0)
	for _, count := range n.transport.Mismatches() {
		sum += count
	}
	return sum
}

// Ready is closed when the node has caught up with its cell and serves.
func (n *Node) Ready() <-chan struct{} { return n.life.caughtUp }

// Done is closed when the node has stopped.
func (n *Node) Done() <-chan struct{} { return n.life.done }

// Err is why the node stopped by itself. Only meaningful after Done.
func (n *Node) Err() error { return n.life.stopErr() }

// fail stops the node from inside.
func (n *Node) fail(err error) {
	n.logger.Error("node stops", "error", err)
	go n.stop(err)
}

// Drain lets the calls that run here end, hands leadership on, and stops. It returns when the node
// has stopped; when ctx ends first, what still runs is cut off.
func (n *Node) Drain(ctx context.Context) error {
	n.life.drain()
	ctx, cancel := context.WithTimeout(ctx, n.time.drainLimit)
	defer cancel()
	if n.log.IsLeader() {
		if err := n.log.TransferLeadership(ctx); err != nil {
			n.logger.Info("leadership not handed on", "error", err)
		}
	}
	err := n.transport.Drain(ctx)
	n.stop(nil)
	return err
}

// Close stops the node now, in order.
func (n *Node) Close() error {
	n.stop(nil)
	return n.Err()
}

// Kill stops the node without a word to anybody, as a crash would: connections break, nothing is
// handed on. What was acknowledged is on disk.
func (n *Node) Kill() {
	n.transport.HangUp()
	n.stop(nil)
}

// stop is how every way of stopping ends. It waits for all goroutines.
func (n *Node) stop(why error) { n.life.stop(why, n.halt, n.closeAll) }

// halt breaks the connections, which loops and handlers may wait for.
func (n *Node) halt() {
	n.transport.Stop()
	n.web.Close()
}

// closeAll closes what is on disk, when nothing uses it any more. A node that could not be opened has not all of it.
func (n *Node) closeAll() error {
	if n.exec != nil {
		n.exec.Wait()
	}
	n.transport.Wait()
	var errs []error
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	if n.disks != nil {
		errs = append(errs, n.disks.Close())
	} else if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}
