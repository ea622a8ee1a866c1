package node

import (
	"net"

	"github.com/datanode/datanode/raftlog/state"
)

// colocatedFor is for how many heartbeats a node of the same machine that served clients is taken to go on with it. A
// heartbeat is about one moment.
const colocatedFor = 3

// noteServing records which nodes of the cell serve clients. Those at this node's own host share its processors, and
// maybe its disk: clients of theirs go before copies here, too.
func (n *Node) noteServing(ids []string) {
	view := n.log.View()
	for _, id := range ids {
		node := view.Node(state.NodeID(id))
		if node != nil && node.ID != n.id && sameHost(node.Addr, n.addr) {
			n.share.ColocatedServes(colocatedFor * n.time.heartbeat)
			return
		}
	}
}

func sameHost(a, b string) bool {
	hostA, _, errA := net.SplitHostPort(a)
	hostB, _, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && hostA == hostB
}
