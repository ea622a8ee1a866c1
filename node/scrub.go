package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	scrubLook  = time.Second      // between two looks at whether there is something to do
	scrubSaves = 10 * time.Minute // between two writes of the dates in one round
)

// scrubber reads everything that this node holds, again and again and slowly, for rot is found by who reads. Each
// round goes through the sealed replicas by ID, and then the operation log; then it rests. A round that a restart
// has cut short goes on with what it had not come to.
type scrubber struct {
	n     *Node
	pacer pacer     // owned by run
	saved time.Time // owned by run

	bytes, damage atomic.Uint64 // since the start
	again         chan struct{} // asks for a round at once; holds one

	mu     sync.Mutex
	record scrubRecord // Guarded by mu.
	done   int         // Guarded by mu. Replicas that the round under way, or the last one, has come to.
	of     int         // Guarded by mu. Replicas that there were when it began.
	rounds uint64      // Guarded by mu. That have ended since the start.
	ended  chan struct{}
	// Guarded by mu. Closed and replaced at the end of each round.
}

func newScrubber(n *Node) *scrubber {
	return &scrubber{n: n, again: make(chan struct{}, 1), record: newScrubRecord(), ended: make(chan struct{})}
}

// run is the scrub, from when the node serves until ctx ends.
func (s *scrubber) run(ctx context.Context) {
	select {
	case <-s.n.readyCh:
	case <-ctx.Done():
		return
	}
	s.load()
	s.saved = s.n.now()
	for s.due(ctx) == nil {
		if err := s.round(ctx); err != nil {
			break
		}
	}
	s.save()
}

// due waits until it is time for a round: at once for one that was cut short.
func (s *scrubber) due(ctx context.Context) error {
	for {
		s.mu.Lock()
		began, full := s.record.began, unixTime(s.record.full)
		s.mu.Unlock()
		settings := s.n.log.View().Settings
		rested := s.n.now().Sub(full) // negative: the clock was set back
		if settings.ScrubRate() > 0 && (began != 0 || rested < 0 || rested >= settings.ScrubBreak()) {
			return ctx.Err()
		}
		select {
		case <-s.n.after(scrubLook):
		case <-s.again:
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// round reads all that was not read since it began. Its error is that of ctx.
func (s *scrubber) round(ctx context.Context) error {
	began, ids := s.begin()
	for i, id := range ids {
		if err := s.replica(ctx, id, began); err != nil {
			return err
		}
		s.mu.Lock()
		s.done = i + 1
		s.mu.Unlock()
		if s.n.now().Sub(s.saved) >= scrubSaves {
			s.save()
		}
	}
	if err := s.log(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.record.began, s.record.full = 0, s.n.now().Unix()
	s.rounds++
	close(s.ended)
	s.ended = make(chan struct{})
	s.mu.Unlock()
	s.save()
	return nil
}

// begin begins a round, or goes on with one.
func (s *scrubber) begin() (began int64, ids []state.ExtentID) {
	s.n.log.View().ReplicasOn(s.n.id, func(e *state.Extent) bool {
		ids = append(ids, e.ID)
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropFutureLocked(s.n.now().Unix())
	if s.record.began == 0 {
		s.record.began = s.n.now().Unix()
	}
	s.done, s.of = 0, len(ids)
	return s.record.began, ids
}

// held is an extent of which this node should have a whole sealed replica; nil when it should not, or no longer.
func (s *scrubber) held(id state.ExtentID) *state.Extent {
	e := s.n.log.View().Extent(id)
	if e == nil || e.State != state.ExtentSealed {
		return nil
	}
	if r, holds := e.Replica(s.n.id); !holds || r.State != state.ReplicaWhole {
		return nil
	}
	return e
}

// replica reads one replica, if it was not read in this round already, and tells the cell when it is damaged.
func (s *scrubber) replica(ctx context.Context, id state.ExtentID, began int64) error {
	e := s.held(id)
	if e == nil || s.verifiedAt(id).Unix() > began {
		return nil
	}
	sum, err := s.n.store.Scrub(extent.ID(id), extent.Birth(e.Birth()), e.Length, func(bytes int) error {
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
		s.note(id)
		return nil
	}
	s.forget(id)
	if err == nil {
		s.damage.Add(1)
		s.n.noteSuspect(id, s.n.id, fmt.Sprintf("scrub: %d bytes with sum %s, the log says %s", e.Length, wire.SumText(sum), wire.SumText(e.Sum)))
		return nil
	}
	if code := extent.CodeOf(err); code == extent.CodeCorrupt || code == extent.CodeNotFound || code == extent.CodeTooShort {
		s.damage.Add(1)
	}
	s.n.noteUnread(e, s.n.id, err)
	return nil
}

// note records that this node's replica was read in full just now and is what the log says.
func (s *scrubber) note(id state.ExtentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.verified[id] = s.n.now().Unix()
}

func (s *scrubber) forget(id state.ExtentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.record.verified, id)
}

// log reads the operation log as Verify does.
func (s *scrubber) log(ctx context.Context) error {
	report, err := s.n.log.VerifyPaced(func(bytes int) error {
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
		s.n.logger.Warn("scrub could not read the log", "error", err)
		return nil
	case report.Bad != nil:
		s.damage.Add(1)
		s.n.logDamaged(report.Bad)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.log = s.n.now().Unix()
	return nil
}

// logDamaged has this node step aside when its log is no longer what it was: it puts the log aside when it starts
// again, and is made whole by the others. Where those are too few to go on without it, it says so and stays: what
// it has applied is sound, and no damaged entry is sent.
func (n *Node) logDamaged(bad *raftlog.BadEntry) {
	err := &raftlog.CorruptError{Index: bad.From, Detail: bad.Detail}
	if n.othersSuffice() {
		n.fail(fmt.Errorf("the scrub found the log damaged; start this node again to have it made whole: %w", err))
		return
	}
	n.logger.Error("the scrub found the log damaged; this node stays until most other voters are up, and has then to be started again", "error", err)
}

// othersSuffice tells whether the voters that are up, without this node, are most of all voters.
func (n *Node) othersSuffice() bool {
	voters, up := 0, 0
	n.log.View().Nodes(func(node *state.Node) bool {
		if node.Voter {
			voters++
			if node.State == state.NodeUp && node.ID != n.id {
				up++
			}
		}
		return true
	})
	return up > voters/2
}
