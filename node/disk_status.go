package node

import (
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/report"
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
