package raftlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Group is this node's part in the cell's raft group.
type Group struct {
	cfg     Config
	stores  *Stores
	snaps   *snapshots // over stores: the engine's way to its snapshots
	log     *careful   // over stores: the only way to the stored log
	mark    *markFile
	net     *transport
	machine *machine
	moved   *moved
	raft    *raft.Raft
	teller  *teller
	hang    *hang
	away    away
	clock   clock
	started atomic.Bool // raft is set and runs

	lastAtOpen state.Index

	proposals chan *proposal // Invariant: len <= maxWaiting
	calls     sync.WaitGroup // the committer, and calls that wait for the engine
	watching  sync.WaitGroup // the watcher

	closing   chan struct{} // closed by Close
	closeOnce sync.Once
	closeErr  error // valid once closeOnce is done

	failOnce sync.Once
	failed   chan struct{}
	failErr  error // valid once failed is closed

	mu            sync.Mutex
	leaderChanged chan struct{} // under mu
	closed        bool          // under mu; no more calls
}

const (
	logCacheEntries = 512
	// drainTimeout is how long Close waits for proposals under way, on top of the leader lease.
	drainTimeout = 5 * time.Second
)

// Open opens the log and takes part in the group. A new log that is not bootstrapped waits to be added.
func Open(cfg Config) (*Group, error) {
	cfg = cfg.withDefaults()
	if err := cfg.valid(); err != nil {
		return nil, err
	}
	g := &Group{
		cfg:           cfg,
		stores:        cfg.Stores,
		proposals:     make(chan *proposal, maxWaiting),
		closing:       make(chan struct{}),
		failed:        make(chan struct{}),
		leaderChanged: make(chan struct{}),
		hang:          newHang(),
		clock:         clock{now: cfg.Now, wall: cfg.Now, logger: cfg.Logger},
	}
	logger := newEngineLogger(cfg.Logger)
	if g.stores == nil {
		var err error
		if g.stores, err = openDisk(&g.cfg, logger); err != nil {
			return nil, err
		}
	}
	g.log = &careful{LogStore: g.stores.log, StableStore: g.stores.stable, file: g.stores.file}
	g.moved = newMoved(cfg.Addresses)
	g.away.is.Store(cfg.Held) // until the log says
	abstains := func() bool { return g.isAway() || g.Abstains() != nil }
	g.net = newTransport(cfg.Layer, cfg.Advertise, g.moved, logger, &sieve{logger: cfg.Logger, abstains: abstains},
		cfg.Timing.Election/2)
	g.net.streams.away = g.isAway
	g.machine = newMachine(cfg.Cell, g.fail)
	g.machine.log = g.log
	g.snaps = &snapshots{store: g.stores.snapshots, dir: g.stores.snapshotDir, logger: cfg.Logger, judge: g.judge}
	conf := cfg.engine()
	conf.Logger = logger
	if err := g.startEngine(conf); err != nil {
		g.net.cut()
		return nil, errors.Join(err, g.mark.close(), g.stores.close())
	}
	if g.mark != nil {
		g.watching.Add(1)
		go g.keepMark()
	}
	g.teller = newTeller(g.net, conf, func() []raft.Server { return g.raft.GetConfiguration().Configuration().Servers })
	g.started.Store(true)
	g.calls.Add(1)
	go g.commit()
	g.watching.Add(1)
	go g.watch()
	return g, nil
}

func (g *Group) startEngine(conf *raft.Config) error {
	store := &guard{
		log: g.log, stable: g.log, box: g.stores.box, timeout: g.cfg.Timing.StoreWrite, room: g.cfg.MakeRoom,
		mayCut: g.mayCut, fail: g.fail, hang: g.cfg.Timing.StoreHang, hangs: g.hangs, answers: g.answers,
	}
	if err := g.checkDisk(store.log); err != nil {
		return err
	}
	if err := g.bootstrap(conf, store); err != nil {
		return err
	}
	cache, err := raft.NewLogCache(logCacheEntries, store)
	if err != nil {
		return err
	}
	g.raft, err = raft.NewRaft(conf, g.machine, cache, store, g.snaps, g.net)
	if err != nil {
		if g.machine.restoreErr != nil {
			err = g.machine.restoreErr
		}
		return fmt.Errorf("open the log in %s: %w", g.cfg.Dir, err)
	}
	if err := g.Err(); err != nil {
		return errors.Join(err, g.raft.Shutdown().Error())
	}
	return g.noteVoters()
}

// noteVoters keeps who the voters are, also where a snapshot says it and no entry.
func (g *Group) noteVoters() error {
	f := g.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return errors.Join(err, g.raft.Shutdown().Error())
	}
	voters := votersOf(f.Configuration())
	if len(voters) == 0 { // a log that is still empty says nothing
		return nil
	}
	if err := g.stores.box.noteVoters(voters); err != nil {
		return errors.Join(err, g.raft.Shutdown().Error())
	}
	return nil
}

// bootstrap writes the first configuration into a new log.
func (g *Group) bootstrap(conf *raft.Config, store *guard) error {
	if len(g.cfg.Bootstrap) == 0 || g.Abstains() != nil {
		return nil
	}
	old, err := raft.HasExistingState(store, store, g.snaps)
	if err != nil || old {
		return err
	}
	var servers raft.Configuration
	for _, s := range g.cfg.Bootstrap {
		servers.Servers = append(servers.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Addr),
		})
	}
	return raft.BootstrapCluster(conf, store, store, g.snaps, g.net, servers)
}

// fail cuts this node off from the group, for good, because of err. It does not wait.
func (g *Group) fail(err error) {
	g.failOnce.Do(func() {
		g.failErr = err
		g.cfg.Logger.Error("the operation log has stopped on this node", "err", err)
		g.net.cut()
		close(g.failed)
	})
}

// Failed is closed when this node can no longer take part, for the reason that Err then gives. The
// node must stop: its state is no longer brought up to date.
func (g *Group) Failed() <-chan struct{} { return g.failed }

// Err is why the group has failed on this node, nil while it has not.
func (g *Group) Err() error {
	select {
	case <-g.failed:
		return g.failErr
	default:
		return nil
	}
}

// Close leaves the group, waits for everything to end and closes the stores. Proposals that wait
// are answered NotDone. Those under way may still succeed, for as long as the leader lease.
func (g *Group) Close() error {
	g.closeOnce.Do(func() { g.closeErr = g.close() })
	return g.closeErr
}

func (g *Group) close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	close(g.closing)
	// The engine forgets futures that it is just applying when it shuts down, so they must end before.
	drained := make(chan struct{})
	go func() { g.calls.Wait(); close(drained) }()
	limit := time.NewTimer(g.cfg.Timing.LeaderLease + drainTimeout)
	defer limit.Stop()
	select {
	case <-drained:
	case <-g.failed:
	case <-limit.C:
		g.cfg.Logger.Warn("closing the log under proposals that do not end")
	}
	g.net.cut()
	g.teller.stop()
	if err := errors.Join(g.Err(), g.Hangs()); errors.Is(err, errHung) || g.Hangs() != nil {
		return err // the engine would wait for the disk
	}
	err := g.raft.Shutdown().Error()
	g.watching.Wait()
	return errors.Join(err, g.mark.close(), g.stores.close())
}

// begin counts a call in that waits for the engine, unless the group is closed.
func (g *Group) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.calls.Add(1)
	return true
}

// await waits for a call to the engine, which cannot be interrupted, for as long as the context lasts.
func (g *Group) await(ctx context.Context, call func() error) error {
	if err := g.Err(); err != nil {
		return unavailable(wire.NotDone, "%s", err.Error())
	}
	if !g.begin() {
		return unavailable(wire.NotDone, "%s", errClosed.Error())
	}
	done := make(chan error, 1)
	go func() {
		defer g.calls.Done()
		done <- call()
	}()
	select {
	case err := <-done:
		if err != nil {
			return g.fromRaft(err)
		}
		return nil
	case <-ctx.Done():
		return fromContext(ctx, wire.Unknown)
	case <-g.failed:
		return unavailable(wire.Unknown, "%s", g.failErr.Error())
	case <-g.hang.begun():
		return unavailable(wire.Unknown, "%s", errHangs.Error())
	}
}

// View is the state as far as it is applied here. It never changes, and costs next to nothing.
func (g *Group) View() *state.View { return g.machine.read() }

// Changed is closed when the next entries are applied. Take it before the View that it is to be
// news for.
func (g *Group) Changed() <-chan struct{} {
	_, ch := g.machine.progress()
	return ch
}

// WaitApplied waits until the entry at index is applied here.
func (g *Group) WaitApplied(ctx context.Context, index state.Index) error {
	reached, giveUp := g.machine.await(index)
	if reached == nil {
		return nil
	}
	defer giveUp()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("entry %d is not applied here yet, %d is: %w", index, g.AppliedIndex(),
			fromContext(ctx, wire.NotDone))
	case <-g.failed:
		return unavailable(wire.NotDone, "%s", g.failErr.Error())
	case <-g.closing:
		return unavailable(wire.NotDone, "%s", errClosed.Error())
	}
}

// CommitIndex is the last entry that this node knows to be agreed on.
func (g *Group) CommitIndex() state.Index { return state.Index(g.raft.CommitIndex()) }

// AppliedIndex is that of View. The engine's own entry at the start of a leadership is passed only
// with the next entry, which the new leader adds at once.
func (g *Group) AppliedIndex() state.Index {
	at, _ := g.machine.progress()
	return at
}

// LastAtOpen is the last entry that this node's folder held, in its log or its snapshot, when it was opened.
func (g *Group) LastAtOpen() state.Index { return g.lastAtOpen }

// LastIndex is the last entry in this node's log, agreed on or not.
func (g *Group) LastIndex() state.Index { return state.Index(g.raft.LastIndex()) }

// Term is the election term that this node is in.
func (g *Group) Term() uint64 { return g.raft.CurrentTerm() }

// Chain is the chain at the applied index.
func (g *Group) Chain() ChainPoint {
	chain, _ := g.machine.chainState()
	return chain
}

// Snapshot takes a snapshot now and cuts the log behind it. Nothing new to put in one is no error.
func (g *Group) Snapshot(ctx context.Context) error {
	return g.await(ctx, func() error {
		err := g.raft.Snapshot().Error()
		if errors.Is(err, raft.ErrNothingNewToSnapshot) {
			return nil
		}
		return err
	})
}
