// Package scrub reads everything that a node holds, again and again and slowly, because only reading finds
// damaged bytes.
//
// Each round goes through the sealed replicas by ID, and then the operation log; then it rests. A round that a restart
// has cut short goes on with what it had not come to: what was read when is in a file of the store's folder.
//
// The package starts no goroutine: whoever makes a Scrubber runs it, with Run. One lock guards what is remembered, and
// is held for no read.
package scrub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// Look is how long it takes at most until a change of the pace is seen, and between two looks at whether there is
	// something to do.
	Look = time.Second

	saveEvery = 10 * time.Minute // between two writes of the dates in one round
)

// Store is where the replicas are. Its methods may be called from any goroutine.
type Store interface {
	// Scrub reads a whole replica from the disk and answers its sum. It calls pace before each read.
	Scrub(id extent.ID, birth extent.Birth, length uint64, pace func(bytes int) error) (uint32, error)
	// ScrubDisk is Scrub that reads nothing from the system's cache.
	ScrubDisk(id extent.ID, birth extent.Birth, length uint64, pace func(bytes int) error) (uint32, error)
	// Written is when a replica's file was last written, zero where nobody can tell.
	Written(id extent.ID) time.Time
}

// Options is what a Scrubber needs of its node.
type Options struct {
	ID     state.NodeID
	Store  Store
	FS     vfs.FS
	File   string // of the dates
	Clock  clock.Clock
	Logger *slog.Logger
	// Ready is closed when the node serves. Before, nothing is read.
	Ready <-chan struct{}
	// View is the state as this node has applied it.
	View func() *state.View
	// VerifyLog reads the operation log, and calls pace before each read.
	VerifyLog func(pace func(bytes int) error) (raftlog.VerifyReport, error)
	// Busy reports whether clients are served.
	Busy func() bool
	// Suspect reports that this node's replica is damaged. If that is lost, the next round finds it again.
	Suspect func(id state.ExtentID, why string)
	// Unread reports why this node's replica could not be read, if that says that it is damaged.
	Unread func(*state.Extent, error)
	// LogDamaged takes what of the log is damaged.
	LogDamaged func(*raftlog.BadEntry)
}

// Scrubber is the scrub of one node. Its methods may be called from any goroutine.
type Scrubber struct {
	opt   Options
	pacer pacer     // owned by Run
	saved time.Time // owned by Run

	bytes, damage atomic.Uint64 // since the start
	again         chan struct{} // asks for a round at once; holds one

	mu     sync.Mutex
	record record        // Guarded by mu.
	done   int           // Guarded by mu. Replicas that the round under way, or the last one, has come to.
	of     int           // Guarded by mu. Replicas that there were when it began.
	ended  chan struct{} // Guarded by mu. Closed and replaced at the end of each round.
}

// New makes a scrubber. Nothing is read before it runs.
func New(o Options) *Scrubber {
	return &Scrubber{opt: o, again: make(chan struct{}, 1), record: newRecord(), ended: make(chan struct{})}
}

// RoundNow asks for a round at once. ended is closed at the end of the next one, which may be under way already.
// For tests.
func (s *Scrubber) RoundNow() (ended <-chan struct{}) {
	s.mu.Lock()
	ended = s.ended
	s.mu.Unlock()
	select {
	case s.again <- struct{}{}:
	default:
	}
	return ended
}

// Describe says how far the scrub is, and what it has found.
func (s *Scrubber) Describe() wire.ScrubReply {
	s.mu.Lock()
	defer s.mu.Unlock()
	micros := func(seconds int64) int64 { return seconds * int64(time.Second/time.Microsecond) }
	return wire.ScrubReply{
		Node: string(s.opt.ID), Pace: s.opt.View().Settings.ScrubRate(), Began: micros(s.record.began),
		Done: s.done, Of: s.of, Full: micros(s.record.full), Log: micros(s.record.log),
		Bytes: s.bytes.Load(), Damage: s.damage.Load(),
	}
}

// Run is the scrub, from when the node serves until ctx ends.
func (s *Scrubber) Run(ctx context.Context) {
	select {
	case <-s.opt.Ready:
	case <-ctx.Done():
		return
	}
	s.load()
	s.saved = s.opt.Clock.Now()
	err := s.recent(ctx)
	for err == nil && s.due(ctx) == nil {
		err = s.round(ctx)
	}
	s.save()
}

// due waits until it is time for a round: at once for one that was cut short.
func (s *Scrubber) due(ctx context.Context) error {
	for {
		s.mu.Lock()
		began, full := s.record.began, unixTime(s.record.full)
		s.mu.Unlock()
		settings := s.opt.View().Settings
		rested := s.opt.Clock.Now().Sub(full) // negative: the clock was set back
		if settings.ScrubRate() > 0 && (began != 0 || rested < 0 || rested >= settings.ScrubBreak()) {
			return ctx.Err()
		}
		select {
		case <-s.opt.Clock.After(Look):
		case <-s.again:
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// round reads all that was not read since it began. Its error is that of ctx.
func (s *Scrubber) round(ctx context.Context) error {
	began, ids := s.begin()
	for i, id := range ids {
		if err := s.replica(ctx, id, began); err != nil {
			return err
		}
		s.mu.Lock()
		s.done = i + 1
		s.mu.Unlock()
		if s.opt.Clock.Now().Sub(s.saved) >= saveEvery {
			s.save()
		}
	}
	if err := s.log(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.record.began, s.record.full = 0, s.opt.Clock.Now().Unix()
	close(s.ended)
	s.ended = make(chan struct{})
	s.mu.Unlock()
	s.save()
	return nil
}

// begin begins a round, or goes on with one.
func (s *Scrubber) begin() (began int64, ids []state.ExtentID) {
	s.opt.View().ReplicasOn(s.opt.ID, func(e *state.Extent) bool {
		ids = append(ids, e.ID)
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropFutureLocked(s.opt.Clock.Now().Unix())
	if s.record.began == 0 {
		s.record.began = s.opt.Clock.Now().Unix()
	}
	s.done, s.of = 0, len(ids)
	return s.record.began, ids
}

// held is an extent of which this node should have a whole sealed replica; nil when it should not, or no longer.
func (s *Scrubber) held(id state.ExtentID) *state.Extent {
	e := s.opt.View().Extent(id)
	if e == nil || !e.Final() {
		return nil
	}
	if r, holds := e.Replica(s.opt.ID); !holds || r.State != state.ReplicaWhole {
		return nil
	}
	return e
}

// replica reads one replica, if it was not read in this round already, and reports it when it is damaged.
func (s *Scrubber) replica(ctx context.Context, id state.ExtentID, began int64) error {
	if s.VerifiedAt(id).Unix() > began {
		return nil
	}
	return s.read(ctx, id, s.opt.Store.Scrub)
}

// read reads one replica in a way, and reports it when it is damaged.
func (s *Scrubber) read(ctx context.Context, id state.ExtentID, way way) error {
	e := s.held(id)
	if e == nil {
		return nil
	}
	sum, err := way(extent.ID(id), extent.Birth(e.Birth()), e.Length, func(bytes int) error {
		if err := s.pace(ctx, bytes); err != nil {
			return err
		}
		s.bytes.Add(uint64(bytes))
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.held(id) == nil {
		return nil // deleted, moved or known to be damaged meanwhile
	}
	if err == nil && sum == e.Sum {
		s.Note(id)
		return nil
	}
	s.forget(id)
	if err == nil {
		s.damage.Add(1)
		s.opt.Suspect(id, fmt.Sprintf("scrub: %d bytes with sum %s, the log says %s",
			e.Length, wire.SumText(sum), wire.SumText(e.Sum)))
		return nil
	}
	switch extent.CodeOf(err) {
	case extent.CodeCorrupt, extent.CodeNotFound, extent.CodeTooShort:
		s.damage.Add(1)
	}
	s.opt.Unread(e, err)
	return nil
}

// Note records that this node's replica was read in full just now and is what the log has.
func (s *Scrubber) Note(id state.ExtentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.verified[id] = s.opt.Clock.Now().Unix()
}

func (s *Scrubber) forget(id state.ExtentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.record.verified, id)
}

// log reads the operation log as Verify does.
func (s *Scrubber) log(ctx context.Context) error {
	report, err := s.opt.VerifyLog(func(bytes int) error {
		s.bytes.Add(uint64(bytes))
		return s.pace(ctx, bytes)
	})
	compacted := (*raftlog.CompactedError)(nil)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &compacted):
		return nil // a snapshot has taken the place of what was to be read; the next round reads what is left
	case err != nil:
		s.opt.Logger.Warn("scrub could not read the log", "error", err)
		return nil
	case report.Bad != nil:
		s.damage.Add(1)
		s.opt.LogDamaged(report.Bad)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.log = s.opt.Clock.Now().Unix()
	return nil
}
