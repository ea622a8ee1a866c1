package replica

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

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

// answered reports whether this is the replica's last word: what it has is known, also when that is nothing.
func (v *sealVote) answered() bool {
	code := wire.CodeOf(v.err)
	return v.err == nil || code == wire.CodeNotFound || code == wire.CodeCorrupt
}

// sound reports whether the replica's bytes, as far as they go, can be read.
func (v *sealVote) sound() bool { return v.err == nil && v.Unsound == "" }

// ballot decides how long a sealed extent is, from what its replicas say.
//
// What was acknowledged is on all replicas, so every replica that has kept what it once had is long enough. The
// longest sound one wins: it may hold bytes of a last append that nobody got an answer for, which harms nobody. It must
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

// recast takes back what replicas said that could then not read and seal what they have, or that answer no more: of
// those only the floor that they knew still counts.
func (b *ballot) recast(sums map[state.NodeID]sealVote) {
	for id, v := range sums {
		was := b.votes[id]
		if v.answered() {
			was.Unsound = cmp.Or(v.Unsound, errText(v.err), "it has sealed another length than it was asked to")
			was.Sound = 0 // how far it can be read is not known
		} else {
			was.err = v.err
		}
		b.votes[id] = was
	}
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
// the floor. An *awaitedError says that more replicas must answer first.
func (b *ballot) count() (length uint64, ends []state.NodeID, err error) {
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
	case len(silent) > 0 && length < floor:
		return 0, nil, b.await(silent, fmt.Sprintf(
			"%d bytes are known to be acknowledged, and no sound replica that has answered has more than %d", floor, length))
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
	return &awaitedError{silent, fmt.Errorf(
		"extent %d cannot be sealed yet, %s: waits for %v (%s)", b.e.ID, why, silent, strings.Join(said, "; "))}
}

// awaitedError says that a seal cannot end before some replicas have answered.
type awaitedError struct {
	nodes []state.NodeID
	why   error
}

func (e *awaitedError) Error() string { return e.why.Error() }
