package web

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/raftlog/state"
)

// quotaMetrics describe the quotas that name a class or an identity. What one for each bounds is in status: there may
// be more of those than labels should be.
type quotaMetrics struct {
	bytes, mostBytes, extents, mostExtents *prometheus.Desc // by class or identity
	refused                                *prometheus.Desc
}

func newQuotaMetrics() quotaMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"by", "name"}, nil)
	}
	return quotaMetrics{
		bytes: desc("datanode_quota_used_bytes", "Bytes kept of a class or for an identity that has a quota, as "+
			"far as this node knows."),
		mostBytes:   desc("datanode_quota_bytes", "Bytes that its quota allows; +Inf: any number."),
		extents:     desc("datanode_quota_used_extents", "Extents kept of a class or for an identity that has a quota."),
		mostExtents: desc("datanode_quota_extents", "Extents that its quota allows; +Inf: any number."),
		refused: prometheus.NewDesc("datanode_quota_refused_total",
			"Puts, appends, creates and settings that this node has refused for a quota.", nil, nil),
	}
}

func (m *quotaMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.bytes, m.mostBytes, m.extents, m.mostExtents, m.refused} {
		ch <- d
	}
}

func (m *quotaMetrics) collect(view *state.View, now *Numbers, ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(m.refused, prometheus.CounterValue, float64(now.QuotaRefused))
	for _, q := range view.Settings.Quotas {
		if q.Each {
			continue
		}
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, q.By.String(), q.Name)
		}
		used := view.Used(q.By, q.Name)
		gauge(m.bytes, float64(used.Bytes+now.Unsealed(view, &q)))
		gauge(m.mostBytes, limitOf(q.Bytes))
		gauge(m.extents, float64(used.Extents))
		gauge(m.mostExtents, limitOf(q.Extents))
	}
}

func limitOf(most uint64) float64 {
	if most == state.Unbounded {
		return math.Inf(1)
	}
	return float64(most)
}
