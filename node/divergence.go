package node

import "github.com/datanode/datanode/wire"

// refuseDiverged refuses a raft stream of a node with another history: it must neither lead this node nor ask for its
// vote.
func (n *Node) refuseDiverged(node string) error {
	if one, ok := n.divergences.Has(node); ok {
		return wire.Errorf(0, wire.CodeParted,
			"raft stream of node %s, whose history of the cell has parted by entry %d", node, one.Index)
	}
	return nil
}
