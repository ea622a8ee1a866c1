package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Disks is the check of a node's disks, of which those given are not ok: a warning for one that was given up. One that
// somebody drains is as it should be, and named all the same. since says when the cell learned of it, 0 if it has not.
func Disks(notOK []wire.NodeDisk, since func(wire.NodeDisk) state.Micros) Check {
	c := Check{Name: "disks", OK: true, Advisory: true}
	var all []string
	for _, d := range notOK {
		if d.State != wire.DiskDraining && d.State != wire.DiskDrained {
			c.OK = false
		}
		text := fmt.Sprintf("disk %s is %s", d.Disk, d.State)
		if at := since(d); at != 0 {
			text += " since " + at.Time().UTC().Format(time.RFC3339)
		}
		if d.Why != "" {
			text += ": " + d.Why
		}
		all = append(all, text+" ("+d.Todo()+")")
	}
	c.Detail = strings.Join(all, "; ")
	return c
}
