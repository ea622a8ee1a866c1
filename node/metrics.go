package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/wire"
)

// collector makes the metrics from what the node knows anyway, at the moment they are asked for.
type collector struct {
	n     *Node
	descs map[string]*prometheus.Desc

	mismatch *prometheus.Desc // by kind
	refused  *prometheus.Desc // by step
	sessions *prometheus.Desc // by session
	denied   *prometheus.Desc // by call
	damage   *prometheus.Desc // of the log on its way, by what was damaged
	wire     wireMetrics
	turns    turnMetrics
	certs    certMetrics
	http     httpMetrics
	quotas   quotaMetrics
	counts   countMetrics
}

func newCollector(n *Node) *collector {
	c := &collector{
		n: n, descs: map[string]*prometheus.Desc{}, quotas: newQuotaMetrics(), counts: newCountMetrics(),
		wire: newWireMetrics(), turns: newTurnMetrics(), certs: newCertMetrics(), http: newHTTPMetrics(),
	}
	c.mismatch = prometheus.NewDesc("datanode_wire_mismatch_total",
		"Frames that matched no call in flight, by what did not match; each has closed its connection.", []string{"kind"}, nil)
	c.refused = prometheus.NewDesc("datanode_steps_refused_total",
		"Steps of operations that other nodes asked for and that were none of what runs, by step.", []string{"step"}, nil)
	c.sessions = prometheus.NewDesc("datanode_session_refused_total",
		"Calls refused because they came in the session of another class of work, by the session.", []string{"session"}, nil)
	c.denied = prometheus.NewDesc("datanode_calls_denied_total",
		"Calls, connections and raft streams refused because their caller may not make them, or spoke in the name of another, by call.",
		[]string{"call"}, nil)
	c.damage = prometheus.NewDesc("datanode_log_damage_received_total",
		"Damage that came from other nodes and was not taken: raft streams that ended for it, and messages with a damaged entry.", []string{"what"}, nil)
	for name, help := range map[string]string{
		"datanode_log_applied_index":        "Last log entry applied.",
		"datanode_log_commit_index":         "Last log entry committed, as far as this node knows.",
		"datanode_leader":                   "1 on the leader.",
		"datanode_ready":                    "1 once the node has caught up with the log and serves.",
		"datanode_extents":                  "Extents of the cell, tombstones included.",
		"datanode_replicas":                 "Replicas of the cell.",
		"datanode_operations_queued":        "Queued operations.",
		"datanode_operations_running":       "Running operations.",
		"datanode_drops_pending":            "Files that must go and are not confirmed gone.",
		"datanode_extents_lacking":          "Sealed extents with fewer whole live replicas than wanted.",
		"datanode_log_abstains":             "1 while the node has no vote, because its log has lost something.",
		"datanode_log_parted":               "Nodes whose history of the cell is not the leader's, as far as this node knows.",
		"datanode_policy_epoch":             "Rises with every change of the active policy.",
		"datanode_disk_free_bytes":          "Bytes that extents may still take on this node's disk, its reserve left out; 0 where nobody can tell.",
		"datanode_disk_total_bytes":         "Bytes of this node's disk; 0 where nobody can tell.",
		"datanode_disk_reserve_bytes":       "Bytes of it that are kept for the log and for deletes, as far as they are not in use.",
		"datanode_node_refuses":             "1 while this node takes no replicas and no appends, for want of room or because its store has failed.",
		"datanode_disk_hangs":               "1 while a write to the log or the store hangs: the node is not ready until it returns.",
		"datanode_store_failed":             "1 once a sync has failed: the node does not serve this disk any more.",
		"datanode_scrub_bytes_total":        "Bytes of extents and of the log that the scrub has read.",
		"datanode_scrub_damage_total":       "Replicas and logs that the scrub has found damaged.",
		"datanode_scrub_last_round_seconds": "When the scrub had last read all that the node holds, in seconds since 1970; 0: never.",
	} {
		c.descs[name] = prometheus.NewDesc(name, help, nil, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
	ch <- c.mismatch
	ch <- c.refused
	ch <- c.sessions
	ch <- c.denied
	ch <- c.damage
	c.wire.describe(ch)
	c.turns.describe(ch)
	c.counts.describe(ch)
	c.certs.describe(ch)
	ch <- misuseDesc()
	c.http.describe(ch)
	c.quotas.describe(ch)
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	n := c.n
	gauge := func(name string, v float64) {
		ch <- prometheus.MustNewConstMetric(c.descs[name], prometheus.GaugeValue, v)
	}
	view := n.log.View()
	counts := view.Counts()
	gauge("datanode_log_applied_index", float64(n.log.AppliedIndex()))
	gauge("datanode_log_commit_index", float64(n.log.CommitIndex()))
	gauge("datanode_log_abstains", oneIf(n.log.Abstains() != nil))
	gauge("datanode_leader", oneIf(n.log.IsLeader()))
	gauge("datanode_ready", oneIf(n.ready.Load()))
	gauge("datanode_extents", float64(counts.Extents))
	gauge("datanode_replicas", float64(counts.Replicas))
	gauge("datanode_operations_queued", float64(counts.Queued))
	gauge("datanode_operations_running", float64(counts.Running))
	gauge("datanode_drops_pending", float64(counts.Drops))
	gauge("datanode_extents_lacking", float64(describe.Lacking(view)))
	gauge("datanode_log_parted", float64(len(n.parted.among(view))))
	gauge("datanode_policy_epoch", float64(view.PolicyEpoch))
	gauge("datanode_store_failed", oneIf(n.store.Failed() != nil))
	gauge("datanode_disk_hangs", oneIf(n.hangs() != nil))
	disk := n.diskStatus()
	gauge("datanode_disk_free_bytes", float64(disk.Free))
	gauge("datanode_disk_total_bytes", float64(disk.Total))
	gauge("datanode_disk_reserve_bytes", float64(disk.Reserve))
	gauge("datanode_node_refuses", oneIf(disk.Refuses != ""))
	scrub := n.scrub.Describe()
	for name, v := range map[string]uint64{"datanode_scrub_bytes_total": scrub.Bytes, "datanode_scrub_damage_total": scrub.Damage} {
		ch <- prometheus.MustNewConstMetric(c.descs[name], prometheus.CounterValue, float64(v))
	}
	gauge("datanode_scrub_last_round_seconds", float64(scrub.Full)/1e6)
	c.counts.collect(view, ch)
	for kind, count := range n.transport.Mismatches() {
		ch <- prometheus.MustNewConstMetric(c.mismatch, prometheus.CounterValue, float64(count), kind.String())
	}
	for _, step := range replica.StepTypes() {
		count := float64(n.replicas.Refused(step))
		ch <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, count, step.String())
	}
	for s := wire.SessionClient; s.Valid(); s++ {
		ch <- prometheus.MustNewConstMetric(c.sessions, prometheus.CounterValue, float64(n.sessionsRefused[s].Load()), s.String())
	}
	for call, count := range n.transport.Denied().Counts() {
		ch <- prometheus.MustNewConstMetric(c.denied, prometheus.CounterValue, float64(count), call)
	}
	for what, count := range map[string]uint64{"stream": n.transport.DamagedStreams(), "entry": n.log.DamagedEntries()} {
		ch <- prometheus.MustNewConstMetric(c.damage, prometheus.CounterValue, float64(count), what)
	}
	n.misused.collect(ch)
	c.turns.collect(n, ch)
	c.wire.collect(n.transport.Table(), ch)
	c.quotas.collect(n, view, ch)
	c.wire.collectCrowd(n.transport.Limits().Crowd(), ch)
	c.wire.collectPenalties(n.transport.Limits().Penalties(), ch)
	c.certs.collect(n.transport, ch)
	c.http.collect(n.httpDoor, ch)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
