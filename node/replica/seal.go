package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	// sealAnswer is how long a seal waits for replicas that do not answer, once it can end without them. Each of those
	// must be copied anew, which is too much for one broken connection; but until a seal ends, nobody appends.
	sealAnswer = 2500 * time.Millisecond
	// sealSoon is what is left of that when the leader has had no heartbeat of any of them for a while already.
	sealSoon = 500 * time.Millisecond
	// sealAgain is the pause after which a replica is asked again that could not be reached.
	sealAgain = 200 * time.Millisecond
	// sealPace is how many bytes a second a replica reads at least, when it has to read all that it has.
	sealPace = 16 << 20
	// sealWait is how long a seal waits for replicas that it cannot do without, before the attempt fails
	// with that reason. It costs no log entries, which more attempts would.
	sealWait = 2 * time.Minute
)

// sealer carries out seals: it finds the final length of an extent, and makes its replicas agree on it.
//
// Goal: every byte that was acknowledged is below the final length, and appends wait for a seal as short as they can.
//
// Invariants:
//   - A byte is acknowledged only once it is durable on all replicas. So each replica that has kept what it once had is
//     long enough, and the longest sound one has every acknowledged byte.
//   - Once a replica has answered, it takes no append of the old epoch: it has raised its durable fence to the seal's
//     first. So what it answered stays true, and no primary that was cut off can acknowledge anything more.
//   - No length is below a floor, which is what any replica knows to be acknowledged.
//   - A replica is marked as sealed only after it has read all that it has up to that length.
//   - The decision is the finish entry. Attempts before it may have been left at any point: each asks anew, and a
//     replica that is sealed already answers as one that has this length.
//
// Order:
//
//  1. All replicas at once are asked to raise their fence, and answer how far they go and what they know (lengths).
//  2. The ballot counts. If those that answered are enough, the others have sealAnswer to follow; else they are asked
//     until they answer, their node is called down, or sealWait is over.
//  3. The replicas that reach the winning length read themselves in full and seal (sums). One that cannot loses its
//     vote, and the ballot is counted again.
//  4. The sum that most answered is the extent's. Those that answered it are confirmed in the finish; all others become
//     suspect, and are repaired.
//
// Rejected: believing the shortest replica, since it holds all that is acknowledged. One replica that had lost its end
// then cut the others. Rejected: a majority of the replicas. Appends need all of them, so one sound replica is proof,
// and two that both lost their end are none. Rejected: marking as sealed with the first question. A length that
// no replica can read could not be taken back.
type sealer struct {
	id     state.NodeID
	log    Log
	clock  clock.Clock
	logger *slog.Logger
	// step calls another node: that of the node's Reachability.
	step func(context.Context, state.NodeID, mux.Request) (mux.Reply, error)
	part *sealPart // this node's own
	// silent reports whether this node leads, and has had no heartbeat of a node for a while.
	silent    func(state.NodeID) bool
	downAfter time.Duration // silence after which the leader calls a node down
}

// seal is one attempt.
func (s *sealer) seal(ctx context.Context, o *state.Op) (*state.Finish, error) {
	deadline := s.clock.Now().Add(sealWait)
	for {
		view := s.log.View()
		changed := s.log.Changed()
		finish, err := s.once(ctx, o)
		var awaited *awaitedError
		if !errors.As(err, &awaited) || !s.clock.Now().Before(deadline) {
			return finish, err
		}
		s.logger.Warn("seal waits for replicas", "extent", uint64(o.Extent), "error", err)
		if err := s.await(ctx, view, changed, awaited.nodes, deadline); err != nil {
			return nil, err
		}
	}
}

// await returns when one of nodes has come up, or after a while in which something else may have changed.
func (s *sealer) await(
	ctx context.Context, was *state.View, changed <-chan struct{}, nodes []state.NodeID, deadline time.Time,
) error {
	pause := min(s.downAfter, deadline.Sub(s.clock.Now()))
	over := s.clock.After(max(pause, 0))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case <-changed:
		}
		changed = s.log.Changed()
		now := s.log.View()
		if slices.ContainsFunc(nodes, func(id state.NodeID) bool { return isUp(now, id) && !isUp(was, id) }) {
			return nil
		}
	}
}

func isUp(view *state.View, id state.NodeID) bool {
	node := view.Node(id)
	return node != nil && node.State == state.NodeUp
}

// once asks and counts until the replicas agree. An *awaitedError means that more of them must answer first.
func (s *sealer) once(ctx context.Context, o *state.Op) (*state.Finish, error) {
	view := s.log.View()
	e := view.Extent(o.Extent)
	if e == nil {
		return nil, fmt.Errorf("extent %d is gone", o.Extent)
	}
	b := newBallot(view, e)
	s.lengths(ctx, o, e, b)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		length, ends, err := b.count()
		if err != nil {
			return nil, err
		}
		if len(ends) == 0 {
			return s.damaged(e, b)
		}
		sums := s.sums(ctx, o, e, ends, length)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if sum, who := agree(e, sums, length); len(who) > 0 {
			return &state.Finish{Outcome: state.OutcomeDone, Length: length, Sum: sum, Confirmed: who}, nil
		}
		b.recast(sums)
	}
}

// lengths has every replica raise its fence and say how far it goes.
func (s *sealer) lengths(ctx context.Context, o *state.Op, e *state.Extent, b *ballot) {
	s.ask(ctx, question{
		op: o, of: e.Replicas, patience: sealAnswer,
		text:   wire.ReplicaFence{Extent: uint64(e.ID), Op: uint64(o.ID), Votes: true},
		heard:  b.cast,
		enough: func() bool { _, _, err := b.count(); return err == nil },
	})
}

// sums has the replicas that reach length read themselves in full, and seal.
func (s *sealer) sums(ctx context.Context, o *state.Op, e *state.Extent, ends []state.NodeID, length uint64,
) map[state.NodeID]sealVote {
	sums := map[state.NodeID]sealVote{}
	of := slices.DeleteFunc(slices.Clone(e.Replicas), func(r state.Replica) bool { return !slices.Contains(ends, r.Node) })
	s.ask(ctx, question{
		op: o, of: of, patience: sealAnswer + time.Duration(length/sealPace)*time.Second,
		text:   wire.ReplicaFence{Extent: uint64(e.ID), Op: uint64(o.ID), Seal: true, Length: length},
		heard:  func(id state.NodeID, v sealVote) { sums[id] = v },
		enough: func() bool { _, who := agree(e, sums, length); return len(who) > 0 },
	})
	return sums
}

// damaged ends a seal when every replica has answered and none has all that is known to be acknowledged. No file is
// cut or marked: what is left can be read, and a replica that comes back whole mends the extent.
func (s *sealer) damaged(e *state.Extent, b *ballot) (*state.Finish, error) {
	length, sound := b.floor(), uint64(0)
	for _, v := range b.votes {
		length, sound = max(length, v.Length), max(sound, v.Sound)
	}
	why := b.await(nil, "no replica has all that was acknowledged")
	if !s.log.View().AllReach(state.LevelProven) {
		return nil, fmt.Errorf("%w; it ends as damaged once all nodes run this build", why)
	}
	from := min(sound, length)
	s.logger.Error("extent is damaged", "extent", uint64(e.ID), "bytes", length, "from", from, "why", why)
	return &state.Finish{
		Outcome: state.OutcomeDone, Length: length, Damaged: true, DamagedFrom: from,
		Detail: wire.Clip(why.Error(), report.MaxDetailBytes),
	}, nil
}
