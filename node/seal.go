package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	// sealPatience is from which attempt on a seal does without the replicas that do not answer. Each of
	// those must be copied anew, which is too much for one broken connection.
	sealPatience = 3
	// sealWait is how long such an attempt then waits for replicas that it cannot do without, before it fails
	// and says so. It costs no log entries, which more attempts would.
	sealWait = 2 * time.Minute
)

// executeSeal finds the final length of an extent and makes the replicas agree on it.
//
// First every replica that can be reached raises its fence, so that no append is acknowledged any more, and
// says how far it goes and how much it knows to be acknowledged. What they say is counted by a ballot. Then
// those that go as far as the length which won read their files in full, and seal them. Those that answer
// the same sum are confirmed; the others are suspect and will be repaired.
func (n *Node) executeSeal(ctx context.Context, o *state.Op) (*state.Finish, error) {
	deadline := n.now().Add(sealWait)
	for {
		view := n.log.View()
		changed := n.log.Changed()
		finish, err := n.sealOnce(ctx, o)
		var awaited *awaitedError
		if !errors.As(err, &awaited) || o.Attempts < sealPatience || !n.now().Before(deadline) {
			return finish, err
		}
		n.logger.Warn("seal waits for replicas", "extent", uint64(o.Extent), "error", err)
		if err := n.awaitAnswer(ctx, view, changed, awaited.nodes, deadline); err != nil {
			return nil, err
		}
	}
}

// awaitAnswer returns when one of nodes has come up, or after a while in which something else may have changed.
func (n *Node) awaitAnswer(ctx context.Context, was *state.View, changed <-chan struct{}, nodes []state.NodeID, deadline time.Time) error {
	pause := min(n.time.downAfter, deadline.Sub(n.now()))
	over := n.after(max(pause, 0))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case <-changed:
		}
		changed = n.log.Changed()
		now := n.log.View()
		if slices.ContainsFunc(nodes, func(id state.NodeID) bool { return isUp(now, id) && !isUp(was, id) }) {
			return nil
		}
	}
}

func isUp(view *state.View, id state.NodeID) bool {
	node := view.Node(id)
	return node != nil && node.State == state.NodeUp
}

// awaitedError says that a seal cannot end before some replicas have answered.
type awaitedError struct {
	nodes []state.NodeID
	why   error
}

func (e *awaitedError) Error() string { return e.why.Error() }

func (n *Node) sealOnce(ctx context.Context, o *state.Op) (*state.Finish, error) {
	view := n.log.View()
	e := view.Extent(o.Extent)
	if e == nil {
		return nil, fmt.Errorf("extent %d is gone", o.Extent)
	}
	b := newBallot(view, e)
	n.sealRound(ctx, e, o, wire.ReplicaFence{Extent: uint64(e.ID), Op: uint64(o.ID), Votes: true}, b.cast)
	for {
		length, ends, err := b.count(o.Attempts < sealPatience)
		if err != nil {
			return nil, err
		}
		if len(ends) == 0 {
			return n.sealDamaged(e, b)
		}
		sums := map[state.NodeID]sealVote{}
		ask := wire.ReplicaFence{Extent: uint64(e.ID), Op: uint64(o.ID), Seal: true, Length: length}
		n.sealRound(ctx, withReplicas(e, ends), o, ask, func(id state.NodeID, v sealVote) { sums[id] = v })
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if sum, confirmed := agree(e, sums, length); len(confirmed) > 0 {
			return &state.Finish{Outcome: state.OutcomeDone, Length: length, Sum: sum, Confirmed: confirmed}, nil
		}
		if err := b.recast(sums); err != nil {
			return nil, err
		}
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

// sealRound asks each replica one question of the seal.
func (n *Node) sealRound(ctx context.Context, e *state.Extent, o *state.Op, q wire.ReplicaFence, heard func(state.NodeID, sealVote)) {
	votes := make(chan func(), len(e.Replicas))
	n.onReplicas(e, func(node state.NodeID) error {
		v := sealVote{}
		if node == n.id {
			v.ReplicaLength, v.err = n.fenceReplica(q, o.Fence)
		} else {
			var reply mux.Reply
			reply, v.err = n.step(ctx, node, mux.Request{
				Op: wire.OpReplicaFence, Session: wire.SessionControl, Fence: uint64(o.Fence), MinIndex: uint64(o.Fence), Body: &q,
			})
			if v.err == nil {
				v.err = reply.Decode(&v.ReplicaLength)
			}
		}
		if v.err != nil {
			v.err = n.typed(wire.OpReplicaFence, v.err)
		}
		votes <- func() { heard(node, v) }
		return v.err
	})
	close(votes)
	for vote := range votes {
		vote()
	}
}

// agree is the sum that most replicas answered, in doubt the one of the earlier replica, and who
// answered it.
func agree(e *state.Extent, votes map[state.NodeID]sealVote, length uint64) (sum uint32, confirmed []state.NodeID) {
	for _, candidate := range e.Replicas {
		v, ok := votes[candidate.Node]
		if !ok || v.err != nil || v.Length != length {
			continue
		}
		var same []state.NodeID
		for _, r := range e.Replicas {
			if w, ok := votes[r.Node]; ok && w.err == nil && w.Length == length && w.Sum == v.Sum {
				same = append(same, r.Node)
			}
		}
		if len(same) > len(confirmed) {
			sum, confirmed = v.Sum, same
		}
	}
	return sum, confirmed
}

// sealVote is what one replica said in a seal.
type sealVote struct {
	wire.ReplicaLength
	err error
}

// answered tells whether this is the replica's last word: what it has is known, be it nothing.
func (v *sealVote) answered() bool {
	code := wire.CodeOf(v.err)
	return v.err == nil || code == wire.CodeNotFound || code == wire.CodeCorrupt
}

// sound tells whether the replica's bytes, as far as they go, can be read.
func (v *sealVote) sound() bool { return v.err == nil && v.Unsound == "" }

// ballot decides how long a sealed extent is, from what its replicas say.
//
// What was acknowledged is on all replicas, so every replica that has kept what it once had is long enough. The
// longest sound one wins: it may hold bytes of a last append that nobody was told of, which harms nobody. It must
// not be below a floor that any replica knows, and if not all replicas have answered, one that is known to have
// kept what it had must be among those that have. The shortest was once believed instead, on the grounds that it
// holds all that is acknowledged: one replica that had lost its end then cut the others.
type ballot struct {
	e     *state.Extent
	firm  map[state.NodeID]bool // whose length is proof, if its file says so too
	votes map[state.NodeID]sealVote
}

func newBallot(view *state.View, e *state.Extent) *ballot {
	b := &ballot{e: e, firm: map[state.NodeID]bool{}, votes: map[state.NodeID]sealVote{}}
	for _, r := range e.Replicas {
		node := view.Node(r.Node)
		b.firm[r.Node] = r.State == state.ReplicaWhole && node != nil && !node.Unproven
	}
	return b
}

func (b *ballot) cast(id state.NodeID, v sealVote) { b.votes[id] = v }

// recast takes back what replicas said that could then not read and seal what they have. It fails if one of them
// may yet be able to.
func (b *ballot) recast(sums map[state.NodeID]sealVote) error {
	for id, v := range sums {
		if !v.answered() {
			return fmt.Errorf("seal of extent %d on %s: %w", b.e.ID, id, v.err)
		}
		was := b.votes[id]
		was.Unsound = cmp.Or(v.Unsound, errText(v.err), "it has sealed another length than it was asked to")
		was.Sound = 0 // how far it can be read is not known
		b.votes[id] = was
	}
	return nil
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// floor is how much is known to be acknowledged.
func (b *ballot) floor() (floor uint64) {
	for _, v := range b.votes {
		floor = max(floor, v.Floor)
	}
	return floor
}

// count is the length that wins, and the replicas that reach it: none if all have answered and no sound one reaches
// the floor. An *awaitedError says that more replicas must answer first. all wants every one to.
func (b *ballot) count(all bool) (length uint64, ends []state.NodeID, err error) {
	var silent []state.NodeID
	proof := false
	for _, r := range b.e.Replicas {
		v, voted := b.votes[r.Node]
		switch {
		case !voted || !v.answered():
			silent = append(silent, r.Node)
		case v.sound():
			length = max(length, v.Length)
			proof = proof || b.firm[r.Node] && !v.Cut
		}
	}
	switch floor := b.floor(); {
	case len(silent) == len(b.e.Replicas):
		return 0, nil, b.await(silent, "no replica has answered")
	case len(silent) > 0 && all:
		return 0, nil, b.await(silent, "not every replica has answered")
	case len(silent) > 0 && length < floor:
		return 0, nil, b.await(silent, fmt.Sprintf("%d bytes are known to be acknowledged, and no sound replica that has answered has more than %d", floor, length))
	case len(silent) > 0 && !proof:
		return 0, nil, b.await(silent, "no replica that has answered is sure to have all that was acknowledged")
	case length < floor:
		return 0, nil, nil
	}
	for _, r := range b.e.Replicas {
		if v, voted := b.votes[r.Node]; voted && v.sound() && v.Length == length {
			ends = append(ends, r.Node)
		}
	}
	return length, ends, nil
}

func (b *ballot) await(silent []state.NodeID, why string) error {
	var said []string
	for _, r := range b.e.Replicas {
		switch v, voted := b.votes[r.Node]; {
		case !voted:
			said = append(said, fmt.Sprintf("%s was not asked", r.Node))
		case v.err != nil:
			said = append(said, fmt.Sprintf("%s: %v", r.Node, v.err))
		case v.Unsound != "":
			said = append(said, fmt.Sprintf("%s has %d bytes, and %s", r.Node, v.Length, v.Unsound))
		case v.Cut:
			said = append(said, fmt.Sprintf("%s has %d bytes and may have had more", r.Node, v.Length))
		default:
			said = append(said, fmt.Sprintf("%s has %d bytes", r.Node, v.Length))
		}
	}
	if len(silent) == 0 {
		return fmt.Errorf("%s: %s", why, strings.Join(said, "; "))
	}
	return &awaitedError{silent, fmt.Errorf("extent %d cannot be sealed yet, %s: waits for %v (%s)", b.e.ID, why, silent, strings.Join(said, "; "))}
}

// sealDamaged ends a seal when every replica has answered and none has all that is known to be acknowledged. No file is
// cut or marked: what is left can be read, and a replica that comes back whole mends the extent.
func (n *Node) sealDamaged(e *state.Extent, b *ballot) (*state.Finish, error) {
	length, sound := b.floor(), uint64(0)
	for _, v := range b.votes {
		length, sound = max(length, v.Length), max(sound, v.Sound)
	}
	why := b.await(nil, "no replica has all that was acknowledged")
	if !n.proves() {
		return nil, fmt.Errorf("%w; it ends as damaged once all nodes run this build", why)
	}
	n.logger.Error("extent is damaged", "extent", uint64(e.ID), "bytes", length, "from", min(sound, length), "why", why)
	return &state.Finish{Outcome: state.OutcomeDone, Length: length, Damaged: true, DamagedFrom: min(sound, length), Detail: clip(why.Error(), maxDetailBytes)}, nil
}

// proves tells whether all nodes carry out the commands about damaged extents and doubted replicas.
func (n *Node) proves() bool {
	_, lowest := n.log.View().Lowest()
	return lowest >= state.LevelProven
}

// fenceReplica is one replica's part in a seal.
func (n *Node) fenceReplica(req wire.ReplicaFence, fence state.Fence) (wire.ReplicaLength, error) {
	id := extent.ID(req.Extent)
	if err := n.store.RaiseFence(id, extent.Fence(fence)); err != nil {
		return wire.ReplicaLength{}, err
	}
	if _, err := n.meant(wire.OpReplicaFence, req.Extent, 0); err != nil { // a file of another birth has no vote
		return wire.ReplicaLength{}, err
	}
	if !req.Seal {
		return n.durableLength(id, req.Votes)
	}
	// Read first: a replica that turns out not to be readable must not have been marked as sealed.
	sum, err := n.store.Sum(id, req.Length)
	if err != nil {
		return wire.ReplicaLength{}, err
	}
	if err := n.store.Seal(id, req.Length); err != nil {
		return wire.ReplicaLength{}, err
	}
	return wire.ReplicaLength{Length: req.Length, Sum: sum}, nil
}

// durableLength is how far this node's replica goes, and what it knows of how far it should. One that is missing or
// cannot be used at all answers with an error unless the caller counts votes: its length of nothing would otherwise
// cut what the others have acknowledged.
func (n *Node) durableLength(id extent.ID, votes bool) (wire.ReplicaLength, error) {
	info, err := n.store.Stat(id)
	switch {
	case err != nil:
		return wire.ReplicaLength{}, err
	case !info.Present:
		return wire.ReplicaLength{}, wire.Errorf(wire.OpReplicaFence, wire.CodeNotFound, "%s has no file of extent %d", n.id, id)
	case info.Broken != "" && !votes:
		return wire.ReplicaLength{}, wire.Errorf(wire.OpReplicaFence, wire.CodeCorrupt, "the file of extent %d on %s cannot be used: %s", id, n.id, info.Broken)
	}
	out := wire.ReplicaLength{Length: info.Length, Floor: info.Floor, Cut: info.Cut, Unsound: info.Broken, Sound: info.Length}
	if node := n.log.View().Node(n.id); node != nil && node.Unproven {
		out.Cut = true
	}
	if len(info.Damaged) > 0 {
		out.Unsound, out.Sound = fmt.Sprintf("it is damaged from byte %d on", info.Damaged[0].From), info.Damaged[0].From
	}
	return out, nil
}
