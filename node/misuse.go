package node

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// misuse counts what somebody got wrong, or tried, with the sessions of the cell.
type misuse struct {
	owner  atomic.Uint64 // submissions in a session of somebody else
	number atomic.Uint64 // submissions under the number of another request
	answer atomic.Uint64 // answers to this node that were to something else than it had asked
}

func (m *misuse) count(res state.Result) {
	switch {
	case !res.Misused:
	case res.Err.Code == wire.CodeDenied:
		m.owner.Add(1)
	default:
		m.number.Add(1)
	}
}

func misuseDesc() *prometheus.Desc {
	return prometheus.NewDesc("datanode_client_session_misuse_total",
		"Submissions that the leader has refused because the session was another's (owner) or the number another request's (number), and answers to this node that were to something else than it had asked (answer).",
		[]string{"what"}, nil)
}

func (m *misuse) collect(ch chan<- prometheus.Metric) {
	desc := misuseDesc()
	for what, count := range map[string]*atomic.Uint64{"owner": &m.owner, "number": &m.number, "answer": &m.answer} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(count.Load()), what)
	}
}
