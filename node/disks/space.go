package disks

import (
	"fmt"
	"strings"

	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/wire"
)

// takes asks for room on this disk for bytes of an extent that it has.
func (k *disk) takes(id extent.ID, bytes int) error {
	if err := k.space.Take(wire.OpAppend, bytes); err != nil {
		return fmt.Errorf("%s, extent %d: %w", k, id, err)
	}
	return nil
}

// Take asks whether there is room on any disk. With a single one it is asked for so many bytes; with several, the one
// that gets them is asked again.
func (d *Disks) Take(op wire.OpType, bytes int) error {
	if k := d.alone(); k != nil {
		return k.space.Take(op, bytes)
	}
	var last error
	for _, k := range d.disks() {
		if !k.works() || k.draining.Load() {
			continue
		}
		if last = k.space.Take(op, 0); last == nil {
			return nil
		}
	}
	if last == nil {
		last = wire.Errorf(op, wire.CodeNoSpace, "%s takes nothing now: none of its disks does; see datanode disk ls",
			d.o.Node)
	}
	return last
}

// Status is the room of all disks that take something: their sums, and why none takes anything.
func (d *Disks) Status() diskspace.Status {
	if k := d.alone(); k != nil {
		return k.space.Status()
	}
	var sum diskspace.Status
	var refuses []string
	taken := false
	for _, k := range d.disks() {
		if !k.works() || k.draining.Load() {
			continue
		}
		s := k.space.Status()
		sum.Total, sum.Reserve = sum.Total+s.Total, sum.Reserve+s.Reserve
		if s.Refuses == "" {
			sum.Free, sum.Largest, taken = sum.Free+s.Free, max(sum.Largest, s.Free), true
			continue
		}
		refuses = append(refuses, k.id+": "+s.Refuses)
	}
	if sum.Largest == sum.Free { // there is one
		sum.Largest = 0
	}
	if !taken {
		sum.Refuses = "none of its disks takes anything: " + strings.Join(refuses, "; ")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	sum.Changed = d.changed
	return sum
}
