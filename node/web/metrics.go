package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// MetricsOptions are what the metrics are made from. All must be set; the functions may be called from any goroutine,
// and answer from memory.
type MetricsOptions struct {
	Transport *transport.Transport
	View      func() *state.View
	Numbers   func() Numbers
}

// Numbers are what a node says of itself at one moment, beside what its view of the state and its transport have.
type Numbers struct {
	Applied, Commit state.Index // of the log
	Abstains        bool        // the node has no vote, because its log has lost something
	Leads           bool
	Ready           bool
	Diverged        int // nodes whose history of the cell is not the leader's

	StoreFailed bool
	DiskHangs   bool
	Disk        diskspace.Status // of all disks together
	Disks       []wire.Disk      // each, without what extents take there
	Scrub       wire.ScrubReply

	DamagedEntries  uint64                  // messages of raft with one
	StepsRefused    map[wire.OpType]uint64  // by step
	SessionsRefused map[wire.Session]uint64 // by the session that calls came in
	Misuse          map[string]uint64       // of sessions, by what was wrong
	Turns           map[string]TurnNumbers  // by class of work
	Submissions     TurnNumbers             // those that wait to be decided
	RepairMemory    int64                   // bytes that copies hold
	Rewrites        uint64                  // replicas of which much was deleted, rewritten without that
	RewriteBytes    uint64                  // that these gave back to the disk
	RewritesFailed  uint64                  // attempts that came to nothing
	QuotaRefused    uint64                  // puts, appends, creates and settings
	// Unsealed is how many bytes of open extents count against a quota; not nil where there are quotas.
	Unsealed func(*state.View, *state.Quota) uint64
}

// TurnNumbers are how many have a turn, how many wait for one, and how many were refused since the start.
type TurnNumbers struct {
	Running, Waiting int
	Refused          uint64
}

// collector makes the metrics at the moment they are asked for.
type collector struct {
	options  MetricsOptions
	identity *pki.Source // nil: the node has none
	door     *door

	descs map[string]*prometheus.Desc

	mismatch *prometheus.Desc // by kind
	refused  *prometheus.Desc // by step
	sessions *prometheus.Desc // by session
	misuse   *prometheus.Desc // by what was wrong
	denied   *prometheus.Desc // by call
	damage   *prometheus.Desc // of the log on its way, by what was damaged
	wire     wireMetrics
	turns    turnMetrics
	certs    certMetrics
	http     httpMetrics
	quotas   quotaMetrics
	counts   countMetrics
	disks    diskMetrics
}

func newCollector(o MetricsOptions, identity *pki.Source, d *door) *collector {
	c := &collector{
		options: o, identity: identity, door: d, descs: map[string]*prometheus.Desc{},
		quotas: newQuotaMetrics(), counts: newCountMetrics(), disks: newDiskMetrics(),
		wire: newWireMetrics(), turns: newTurnMetrics(), certs: newCertMetrics(), http: newHTTPMetrics(),
	}
	c.describeRefusals()
	for name, help := range singles() {
		c.descs[name] = prometheus.NewDesc(name, help, nil, nil)
	}
	return c
}

// describeRefusals makes those that count what was not taken.
func (c *collector) describeRefusals() {
	c.mismatch = prometheus.NewDesc("datanode_wire_mismatch_total",
		"Frames that matched no call in flight, by what did not match; each has closed its connection.",
		[]string{"kind"}, nil)
	c.refused = prometheus.NewDesc("datanode_steps_refused_total",
		"Steps of operations that other nodes asked for and that were none of what runs, by step.", []string{"step"}, nil)
	c.sessions = prometheus.NewDesc("datanode_session_refused_total",
		"Calls refused because they came in the session of another class of work, by the session.", []string{"session"}, nil)
	c.denied = prometheus.NewDesc("datanode_calls_denied_total",
		"Calls, connections and raft streams refused because their caller may not make them, or spoke in the name of "+
			"another, by call.",
		[]string{"call"}, nil)
	c.damage = prometheus.NewDesc("datanode_log_damage_received_total",
		"Damage that came from other nodes and was not taken: raft streams that ended for it, and messages with a "+
			"damaged entry.", []string{"what"}, nil)
	c.misuse = prometheus.NewDesc("datanode_client_session_misuse_total",
		"Submissions that the leader has refused because the session was another's (owner) or the number another "+
			"request's (number), and answers to this node that were to something else than it had asked (answer).",
		[]string{"what"}, nil)
}

// singles are the metrics that have no labels, with what they are.
func singles() map[string]string {
	return map[string]string{
		"datanode_log_applied_index":  "Last log entry applied.",
		"datanode_log_commit_index":   "Last log entry committed, as far as this node knows.",
		"datanode_leader":             "1 on the leader.",
		"datanode_ready":              "1 once the node has caught up with the log and serves.",
		"datanode_extents":            "Extents of the cell, tombstones included.",
		"datanode_replicas":           "Replicas of the cell.",
		"datanode_operations_queued":  "Queued operations.",
		"datanode_operations_running": "Running operations.",
		"datanode_drops_pending":      "Files that must go and are not confirmed gone.",
		"datanode_extents_lacking":    "Sealed extents with fewer whole live replicas than wanted.",
		"datanode_log_abstains":       "1 while the node has no vote, because its log has lost something.",
		"datanode_log_parted": "Nodes whose history of the cell is not the leader's, as far as this " +
			"node knows.",
		"datanode_policy_epoch": "Rises with every change of the active policy.",
		"datanode_disk_free_bytes": "Bytes that extents may still take on this node's disks, their reserves " +
			"left out; 0 where nobody can tell.",
		"datanode_disk_total_bytes": "Bytes of this node's disks; 0 where nobody can tell.",
		"datanode_disk_reserve_bytes": "Bytes of it that are kept for the log and for deletes, as far as they " +
			"are not in use.",
		"datanode_node_refuses": "1 while this node takes no replicas and no appends, for want of room or " +
			"because its store has failed.",
		"datanode_disk_hangs": "1 while a write to the log or the store hangs: the node is not ready " +
			"until it returns.",
		"datanode_repair_memory_bytes": "Bytes of memory that repairs and moves hold on this node, of those that its " +
			"flag allows.",
		"datanode_rewrites_total":            "Replicas of this node that were rewritten without what is deleted of them.",
		"datanode_rewrites_failed_total":     "Attempts to rewrite one that came to nothing.",
		"datanode_rewrite_freed_bytes_total": "Bytes that rewritten replicas gave back to the disk.",
		"datanode_store_failed":              "1 once a sync has failed: the node does not serve this disk any more.",
		"datanode_scrub_bytes_total":         "Bytes of extents and of the log that the scrub has read.",
		"datanode_scrub_damage_total":        "Replicas and logs that the scrub has found damaged.",
		"datanode_scrub_last_round_seconds": "When the scrub had last read all that the node holds, in seconds since " +
			"1970; 0: never.",
	}
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
	c.disks.describe(ch)
	c.certs.describe(ch)
	ch <- c.misuse
	c.http.describe(ch)
	c.quotas.describe(ch)
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	view, now, t := c.options.View(), c.options.Numbers(), c.options.Transport
	c.collectSingles(view, &now, ch)
	c.counts.collect(view, ch)
	c.disks.collect(now.Disks, ch)
	c.collectRefusals(&now, ch)
	c.turns.collect(&now, ch)
	c.wire.collect(t.Table(), ch)
	c.quotas.collect(view, &now, ch)
	c.wire.collectCrowd(t.Limits().Crowd(), ch)
	c.wire.collectPenalties(t.Limits().Penalties(), ch)
	c.certs.collect(t, c.identity, ch)
	c.http.collect(c.door, ch)
}

func (c *collector) collectSingles(view *state.View, now *Numbers, ch chan<- prometheus.Metric) {
	gauge := func(name string, v float64) {
		ch <- prometheus.MustNewConstMetric(c.descs[name], prometheus.GaugeValue, v)
	}
	counts := view.Counts()
	gauge("datanode_log_applied_index", float64(now.Applied))
	gauge("datanode_log_commit_index", float64(now.Commit))
	gauge("datanode_log_abstains", oneIf(now.Abstains))
	gauge("datanode_leader", oneIf(now.Leads))
	gauge("datanode_ready", oneIf(now.Ready))
	gauge("datanode_extents", float64(counts.Extents))
	gauge("datanode_replicas", float64(counts.Replicas))
	gauge("datanode_operations_queued", float64(counts.Queued))
	gauge("datanode_operations_running", float64(counts.Running))
	gauge("datanode_drops_pending", float64(counts.Drops))
	gauge("datanode_extents_lacking", float64(describe.Lacking(view)))
	gauge("datanode_log_parted", float64(now.Diverged))
	gauge("datanode_policy_epoch", float64(view.PolicyEpoch))
	gauge("datanode_store_failed", oneIf(now.StoreFailed))
	gauge("datanode_disk_hangs", oneIf(now.DiskHangs))
	gauge("datanode_disk_free_bytes", float64(now.Disk.Free))
	gauge("datanode_disk_total_bytes", float64(now.Disk.Total))
	gauge("datanode_disk_reserve_bytes", float64(now.Disk.Reserve))
	gauge("datanode_repair_memory_bytes", float64(now.RepairMemory))
	gauge("datanode_node_refuses", oneIf(now.Disk.Refuses != ""))
	gauge("datanode_scrub_last_round_seconds", float64(now.Scrub.Full)/1e6)
	for name, v := range map[string]uint64{
		"datanode_scrub_bytes_total": now.Scrub.Bytes, "datanode_scrub_damage_total": now.Scrub.Damage,
		"datanode_rewrites_total": now.Rewrites, "datanode_rewrites_failed_total": now.RewritesFailed,
		"datanode_rewrite_freed_bytes_total": now.RewriteBytes,
	} {
		ch <- prometheus.MustNewConstMetric(c.descs[name], prometheus.CounterValue, float64(v))
	}
}

func (c *collector) collectRefusals(now *Numbers, ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), label)
	}
	t := c.options.Transport
	for kind, n := range t.Mismatches() {
		count(c.mismatch, n, kind.String())
	}
	for step, n := range now.StepsRefused {
		count(c.refused, n, step.String())
	}
	for session, n := range now.SessionsRefused {
		count(c.sessions, n, session.String())
	}
	for call, n := range t.Denied().Counts() {
		count(c.denied, n, call)
	}
	count(c.damage, t.DamagedStreams(), "stream")
	count(c.damage, now.DamagedEntries, "entry")
	for what, n := range now.Misuse {
		count(c.misuse, n, what)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
