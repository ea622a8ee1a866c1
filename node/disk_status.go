package node

import (
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// diskStatus is what this node says of its disk, and that its store has failed.
func (n *Node) diskStatus() diskspace.Status {
	d := n.disks.Status()
	if err := n.store.Failed(); err != nil {
		d.Refuses = wire.Clip("its store has failed: "+err.Error(), report.MaxDetailBytes)
	}
	return d
}

// diskSince is when the cell learned how a disk is; 0: it has not yet.
func (n *Node) diskSince(d wire.NodeDisk) state.Micros {
	if node := n.log.View().Node(n.id); node != nil {
		for _, known := range node.Disks {
			if known.Disk == d.Disk && known.State == d.State {
				return known.Since
			}
		}
	}
	return 0
}
