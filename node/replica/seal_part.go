package replica

import (
	"fmt"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// sealPart is what one replica does in a seal.
type sealPart struct {
	id    state.NodeID
	log   Log
	store Store
}

// do raises the fence, always first: what is answered then stays true. Asked for its length, the replica says that;
// asked to seal, it reads all that it has up to the length that it is given, and marks itself.
func (p *sealPart) do(req wire.ReplicaFence, fence state.Fence) (wire.ReplicaLength, error) {
	id := extent.ID(req.Extent)
	if err := p.store.RaiseFence(id, extent.Fence(fence)); err != nil {
		return wire.ReplicaLength{}, err
	}
	// A file of another birth has no vote.
	if _, err := meant(p.log.View(), p.store, wire.OpReplicaFence, req.Extent, 0); err != nil {
		return wire.ReplicaLength{}, err
	}
	if !req.Seal {
		return p.length(id, req.Votes)
	}
	sum, err := p.store.SealSum(id, req.Length)
	if err != nil {
		return wire.ReplicaLength{}, err
	}
	return wire.ReplicaLength{Length: req.Length, Sum: sum}, nil
}

// length is how far this node's replica goes, and what it knows about how far it should. One that is missing or
// cannot be used at all answers with an error unless the caller counts votes: its length of nothing would otherwise
// cut what the others have acknowledged.
func (p *sealPart) length(id extent.ID, votes bool) (wire.ReplicaLength, error) {
	info, err := p.store.Stat(id)
	switch {
	case err != nil:
		return wire.ReplicaLength{}, err
	case !info.Present:
		return wire.ReplicaLength{}, wire.Errorf(
			wire.OpReplicaFence, wire.CodeNotFound, "%s has no file of extent %d", p.id, id)
	case info.Broken != "" && !votes:
		return wire.ReplicaLength{}, wire.Errorf(wire.OpReplicaFence, wire.CodeCorrupt,
			"the file of extent %d on %s cannot be used: %s", id, p.id, info.Broken)
	}
	out := wire.ReplicaLength{
		Length: info.Length, Floor: info.Floor, Cut: info.Cut, Unsound: info.Broken, Sound: info.Length,
	}
	if node := p.log.View().Node(p.id); node != nil && node.Unproven {
		out.Cut = true
	}
	if len(info.Damaged) > 0 {
		from := info.Damaged[0].From
		out.Unsound, out.Sound = fmt.Sprintf("it is damaged from byte %d on", from), from
	}
	return out, nil
}
