package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	// sealAnswer is how long a seal waits for replicas that do not answer, once it can end without them. Each of those
	// must be copied anew, which is too much for one broken connection; but until a seal ends, nobody appends.
	sealAnswer = 2500 * time.Millisecond
	// sealSoon is what is left of that when none of them has been heard of for a while already.
	sealSoon = 500 * time.Millisecond
	// sealAgain is the pause after which a replica is asked again that could not be reached.
	sealAgain = 200 * time.Millisecond
	// sealPace is how many bytes a second a replica reads at least, when it has to read all that it has.
	sealPace = 16 << 20
	// sealWait is how long a seal waits for replicas that it cannot do without, before the attempt fails
	// and says so. It costs no log entries, which more attempts would.
	sealWait = 2 * time.Minute
)

// executeSeal finds the final length of an extent and makes the replicas agree on it.
//
// First every replica that can be reached raises its fence, so that no append is acknowledged any more, and
// says how far it goes and how much it knows to be acknowledged. What they say is counted by a ballot. One that does
// not answer soon is like one on a node that is down: the ballot says whether the others are enough. Then
// those that go as far as the length which won read their files in full, and seal them. Those that answer
// the same sum are confirmed; the others are suspect and will be repaired.
func (rs *Replicas) executeSeal(ctx context.Context, o *state.Op) (*state.Finish, error) {
	deadline := rs.clock.Now().Add(sealWait)
	for {
		view := rs.log.View()
		changed := rs.log.Changed()
		finish, err := rs.sealOnce(ctx, o)
		var awaited *awaitedError
		if !errors.As(err, &awaited) || !rs.clock.Now().Before(deadline) {
			return finish, err
		}
		rs.logger.Warn("seal waits for replicas", "extent", uint64(o.Extent), "error", err)
		if err := rs.awaitAnswer(ctx, view, changed, awaited.nodes, deadline); err != nil {
			return nil, err
		}
	}
}

// awaitAnswer returns when one of nodes has come up, or after a while in which something else may have changed.
func (rs *Replicas) awaitAnswer(ctx context.Context, was *state.View, changed <-chan struct{}, nodes []state.NodeID, deadline time.Time) error {
	pause := min(rs.opt.DownAfter, deadline.Sub(rs.clock.Now()))
	over := rs.clock.After(max(pause, 0))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case <-changed:
		}
		changed = rs.log.Changed()
		now := rs.log.View()
		if slices.ContainsFunc(nodes, func(id state.NodeID) bool { return isUp(now, id) && !isUp(was, id) }) {
			return nil
		}
	}
}

func isUp(view *state.View, id state.NodeID) bool {
	node := view.Node(id)
	return node != nil && node.State == state.NodeUp
}

func (rs *Replicas) sealOnce(ctx context.Context, o *state.Op) (*state.Finish, error) {
	view := rs.log.View()
	e := view.Extent(o.Extent)
	if e == nil {
		return nil, fmt.Errorf("extent %d is gone", o.Extent)
	}
	b := newBallot(view, e)
	ask := wire.ReplicaFence{Extent: uint64(e.ID), Op: uint64(o.ID), Votes: true}
	rs.sealRound(ctx, e, o, ask, sealAnswer, b.cast, func() bool { _, _, err := b.count(); return err == nil })
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		length, ends, err := b.count()
		if err != nil {
			return nil, err
		}
		if len(ends) == 0 {
			return rs.sealDamaged(e, b)
		}
		sums := map[state.NodeID]sealVote{}
		confirmed := func() bool { _, who := agree(e, sums, length); return len(who) > 0 }
		ask := wire.ReplicaFence{Extent: uint64(e.ID), Op: uint64(o.ID), Seal: true, Length: length}
		patience := sealAnswer + time.Duration(length/sealPace)*time.Second
		cast := func(id state.NodeID, v sealVote) { sums[id] = v }
		rs.sealRound(ctx, withReplicas(e, ends), o, ask, patience, cast, confirmed)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if sum, who := agree(e, sums, length); len(who) > 0 {
			return &state.Finish{Outcome: state.OutcomeDone, Length: length, Sum: sum, Confirmed: who}, nil
		}
		b.recast(sums)
	}
}

// withReplicas is e with some of its replicas only.
func withReplicas(e *state.Extent, ids []state.NodeID) *state.Extent {
	some := *e
	some.Replicas = nil
	for _, id := range ids {
		r, _ := e.Replica(id)
		some.Replicas = append(some.Replicas, r)
	}
	return &some
}

// sealRound asks each replica one question of the seal, and hands over what each says. After patience it waits for no
// more as soon as those that have answered are enough.
func (rs *Replicas) sealRound(ctx context.Context, e *state.Extent, o *state.Op, q wire.ReplicaFence, patience time.Duration,
	heard func(state.NodeID, sealVote), enough func() bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type said struct {
		node state.NodeID
		vote sealVote
	}
	votes := make(chan said, len(e.Replicas))
	waiting := map[state.NodeID]bool{}
	for _, r := range e.Replicas {
		waiting[r.Node] = true
		go func() { votes <- said{r.Node, rs.askReplica(ctx, r.Node, o, q)} }()
	}
	soon, over, late := rs.clock.After(sealSoon), rs.clock.After(patience), false
	for len(waiting) > 0 && !(late && enough()) {
		select {
		case s := <-votes:
			delete(waiting, s.node)
			heard(s.node, s.vote)
		case <-soon:
			soon, late = nil, late || rs.allSilent(waiting)
		case <-over:
			over, late = nil, true
		case <-ctx.Done():
			return
		}
	}
	for id := range waiting {
		heard(id, sealVote{err: wire.Errorf(wire.OpReplicaFence, wire.CodeDeadline, "%s has not answered in time", id)})
	}
}

// allSilent tells whether this node leads, and has not heard of any of nodes for a while.
func (rs *Replicas) allSilent(nodes map[state.NodeID]bool) bool {
	for id := range nodes {
		if !rs.opt.Silent(id) {
			return false
		}
	}
	return true
}

// askReplica asks one replica until it answers, or its node is called down: a connection that breaks is dialed again.
func (rs *Replicas) askReplica(ctx context.Context, node state.NodeID, o *state.Op, q wire.ReplicaFence) sealVote {
	for {
		v := rs.askOnce(ctx, node, o, q)
		switch wire.CodeOf(v.err) {
		case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline:
		default:
			return v
		}
		if calledDown(rs.log.View(), node) != nil {
			return v
		}
		select {
		case <-rs.clock.After(sealAgain):
		case <-ctx.Done():
			return v
		}
	}
}

func (rs *Replicas) askOnce(ctx context.Context, node state.NodeID, o *state.Op, q wire.ReplicaFence) (v sealVote) {
	if node == rs.id {
		v = rs.askHere(ctx, q, o.Fence)
	} else {
		var reply mux.Reply
		reply, v.err = rs.reach.Step(ctx, node, mux.Request{
			Op: wire.OpReplicaFence, Session: wire.SessionControl, Fence: uint64(o.Fence), MinIndex: uint64(o.Fence), Body: &q,
		})
		if v.err == nil {
			v.err = reply.Decode(&v.ReplicaLength)
		}
	}
	if v.err != nil {
		v.err = failure.Of(wire.OpReplicaFence, rs.id, v.err)
	}
	return v
}

// askHere is this node's own part. When its disk hangs, the seal goes on without it; the call returns when the disk
// does.
func (rs *Replicas) askHere(ctx context.Context, q wire.ReplicaFence, fence state.Fence) sealVote {
	done := make(chan sealVote, 1)
	go func() {
		var v sealVote
		v.ReplicaLength, v.err = rs.fenceReplica(q, fence)
		done <- v
	}()
	select {
	case v := <-done:
		return v
	case <-ctx.Done():
		return sealVote{err: ctx.Err()}
	}
}

// sealDamaged ends a seal when every replica has answered and none has all that is known to be acknowledged. No file is
// cut or marked: what is left can be read, and a replica that comes back whole mends the extent.
func (rs *Replicas) sealDamaged(e *state.Extent, b *ballot) (*state.Finish, error) {
	length, sound := b.floor(), uint64(0)
	for _, v := range b.votes {
		length, sound = max(length, v.Length), max(sound, v.Sound)
	}
	why := b.await(nil, "no replica has all that was acknowledged")
	if !rs.proves() {
		return nil, fmt.Errorf("%w; it ends as damaged once all nodes run this build", why)
	}
	rs.logger.Error("extent is damaged", "extent", uint64(e.ID), "bytes", length, "from", min(sound, length), "why", why)
	return &state.Finish{Outcome: state.OutcomeDone, Length: length, Damaged: true, DamagedFrom: min(sound, length), Detail: wire.Clip(why.Error(), report.MaxDetailBytes)}, nil
}

// fenceReplica is one replica's part in a seal.
func (rs *Replicas) fenceReplica(req wire.ReplicaFence, fence state.Fence) (wire.ReplicaLength, error) {
	id := extent.ID(req.Extent)
	if err := rs.store.RaiseFence(id, extent.Fence(fence)); err != nil {
		return wire.ReplicaLength{}, err
	}
	if _, err := rs.meant(wire.OpReplicaFence, req.Extent, 0); err != nil { // a file of another birth has no vote
		return wire.ReplicaLength{}, err
	}
	if !req.Seal {
		return rs.durableLength(id, req.Votes)
	}
	// Read first: a replica that turns out not to be readable must not have been marked as sealed.
	sum, err := rs.store.Sum(id, req.Length)
	if err != nil {
		return wire.ReplicaLength{}, err
	}
	if err := rs.store.Seal(id, req.Length); err != nil {
		return wire.ReplicaLength{}, err
	}
	return wire.ReplicaLength{Length: req.Length, Sum: sum}, nil
}

// durableLength is how far this node's replica goes, and what it knows of how far it should. One that is missing or
// cannot be used at all answers with an error unless the caller counts votes: its length of nothing would otherwise
// cut what the others have acknowledged.
func (rs *Replicas) durableLength(id extent.ID, votes bool) (wire.ReplicaLength, error) {
	info, err := rs.store.Stat(id)
	switch {
	case err != nil:
		return wire.ReplicaLength{}, err
	case !info.Present:
		return wire.ReplicaLength{}, wire.Errorf(wire.OpReplicaFence, wire.CodeNotFound, "%s has no file of extent %d", rs.id, id)
	case info.Broken != "" && !votes:
		return wire.ReplicaLength{}, wire.Errorf(wire.OpReplicaFence, wire.CodeCorrupt, "the file of extent %d on %s cannot be used: %s", id, rs.id, info.Broken)
	}
	out := wire.ReplicaLength{Length: info.Length, Floor: info.Floor, Cut: info.Cut, Unsound: info.Broken, Sound: info.Length}
	if node := rs.log.View().Node(rs.id); node != nil && node.Unproven {
		out.Cut = true
	}
	if len(info.Damaged) > 0 {
		out.Unsound, out.Sound = fmt.Sprintf("it is damaged from byte %d on", info.Damaged[0].From), info.Damaged[0].From
	}
	return out, nil
}
