package node

import "github.com/datanode/datanode/raftlog/state"

// era is the last recovery that this node knows of.
func (n *Node) era() state.Index { return n.folder.Era() }
