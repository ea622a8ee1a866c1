package node

import (
	"fmt"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// logDamaged has this node stop when its log is no longer what it was: it puts the log aside when it starts
// again, and is made whole by the others. Where those are too few to go on without it, it logs that and stays: what
// it has applied is sound, and no damaged entry is sent.
func (n *Node) logDamaged(bad *raftlog.BadEntry) {
	err := &raftlog.CorruptError{Index: bad.From, Detail: bad.Detail}
	if othersSuffice(n.log.View(), n.id) {
		n.fail(fmt.Errorf("the scrub found the log damaged; start this node again to have it made whole: %w", err))
		return
	}
	n.logger.Error("the scrub found the log damaged; this node stays until most other voters are up, "+
		"and has then to be started again", "error", err)
}

// othersSuffice reports whether the voters that are up, without this node, are most of all voters.
func othersSuffice(view *state.View, self state.NodeID) bool {
	voters, up := 0, 0
	view.Nodes(func(node *state.Node) bool {
		if node.Voter {
			voters++
			if node.State == state.NodeUp && node.ID != self {
				up++
			}
		}
		return true
	})
	return up > voters/2
}
