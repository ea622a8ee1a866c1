package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/wire"
)

// diskMetrics are those of each disk of the node, by its ID as disk ls says it.
type diskMetrics struct{ free, total, reserve, state, refuses *prometheus.Desc }

func newDiskMetrics() diskMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("datanode_data_disk_"+name, help, append([]string{"disk"}, labels...), nil)
	}
	return diskMetrics{
		free: desc("free_bytes", "Bytes that extents may still take on each disk of this node, its reserve left out; "+
			"none of a disk that is not open."),
		total: desc("total_bytes", "Bytes of each disk of this node; none of a disk that is not open."),
		reserve: desc("reserve_bytes", "Bytes of each disk of this node that are kept for deletes (and the log), as far "+
			"as they are not in use; none of a disk that is not open."),
		state:   desc("state", "1 for the state that each disk of this node is in, as disk ls says it, else 0.", "state"),
		refuses: desc("refuses", "1 while a disk of this node takes no extents, for want of room or since it is given up."),
	}
}

func (m *diskMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.free, m.total, m.reserve, m.state, m.refuses} {
		ch <- d
	}
}

func (m *diskMetrics) collect(all []wire.Disk, ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for i := range all {
		d := &all[i]
		for _, state := range wire.DiskStates() {
			gauge(m.state, oneIf(d.State == state), d.Disk, state)
		}
		gauge(m.refuses, oneIf(d.Refuses != "" || d.Why != ""), d.Disk)
		if d.Total > 0 { // else nobody can tell
			gauge(m.free, float64(d.Free), d.Disk)
			gauge(m.total, float64(d.Total), d.Disk)
			gauge(m.reserve, float64(d.Reserve), d.Disk)
		}
	}
}
