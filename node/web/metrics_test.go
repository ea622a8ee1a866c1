package web

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

// What a node says of itself comes out under the names and labels that dashboards know.
func TestMetrics(t *testing.T) {
	t.Parallel()
	cell := statetest.New()
	cell.RunAll("join n1 n2\ncreate on=n1,n2\nstart create\nfinish create done")
	view := cell.State.Snapshot()
	view.Settings.Quotas = []state.Quota{{By: state.QuotaByClass, Name: "gold", Bytes: state.Unbounded, Extents: 7}}
	now := Numbers{
		Applied: 41, Commit: 42, Leads: true, Ready: true, Diverged: 2, DiskHangs: true,
		Disk: diskspace.Status{Free: 5, Total: 9, Reserve: 1, Refuses: "full"}, Scrub: wire.ScrubReply{Bytes: 11, Full: 3e6},
		Disks: []wire.Disk{
			{Disk: "d0", State: wire.DiskOK, Free: 3, Total: 6, Reserve: 1},
			{Disk: "d1", State: wire.DiskOK, Free: 2, Total: 3, Refuses: "full"},
			{Disk: "d2", State: wire.DiskMissing, Why: "it is missing"},
		},
		DamagedEntries: 6, StepsRefused: map[wire.OpType]uint64{wire.OpReplicaRead: 8},
		SessionsRefused: map[wire.Session]uint64{wire.SessionRepair: 9}, Misuse: map[string]uint64{"owner": 10},
		Turns:        map[string]TurnNumbers{"lists": {Running: 1, Waiting: 2, Refused: 3}},
		Submissions:  TurnNumbers{Waiting: 4, Refused: 5},
		QuotaRefused: 12, RepairMemory: 14, Rewrites: 15, RewriteBytes: 16, RewritesFailed: 17,
		Unsealed: func(*state.View, *state.Quota) uint64 { return 13 },
	}
	s := serve(t, func(o *Options) {
		o.Metrics.View, o.Metrics.Numbers = func() *state.View { return view }, func() Numbers { return now }
	})
	status, body := ask(t, http.DefaultClient, http.MethodGet, s.URL()+"/metrics", "")
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	lines := strings.Split(body, "\n")
	for _, want := range []string{
		"datanode_log_applied_index 41", "datanode_log_commit_index 42", "datanode_log_abstains 0", "datanode_leader 1",
		"datanode_ready 1", "datanode_log_parted 2", "datanode_extents 1", "datanode_replicas 2", "datanode_store_failed 0",
		"datanode_disk_hangs 1", "datanode_disk_free_bytes 5", "datanode_disk_total_bytes 9", "datanode_disk_reserve_bytes 1",
		"datanode_node_refuses 1", "datanode_scrub_bytes_total 11", "datanode_scrub_last_round_seconds 3",
		`datanode_log_damage_received_total{what="entry"} 6`, `datanode_log_damage_received_total{what="stream"} 0`,
		`datanode_steps_refused_total{step="replica-read"} 8`, `datanode_session_refused_total{session="repair"} 9`,
		`datanode_client_session_misuse_total{what="owner"} 10`, `datanode_turns_running{work="lists"} 1`,
		`datanode_turns_waiting{work="lists"} 2`, `datanode_turns_refused_total{work="lists"} 3`,
		`datanode_turns_waiting{work="submissions"} 4`, `datanode_turns_refused_total{work="submissions"} 5`,
		"datanode_quota_refused_total 12", "datanode_repair_memory_bytes 14", "datanode_rewrites_total 15",
		"datanode_rewrite_freed_bytes_total 16", "datanode_rewrites_failed_total 17",
		`datanode_quota_used_bytes{by="class",name="gold"} 13`,
		`datanode_quota_bytes{by="class",name="gold"} +Inf`, `datanode_quota_extents{by="class",name="gold"} 7`,
		`datanode_accepted_connections{of="all"} 0`, `datanode_http_refused_total{reason="host"} 0`,
		`datanode_operations{kind="create",state="queued"} 0`,
		`datanode_data_disk_free_bytes{disk="d0"} 3`, `datanode_data_disk_total_bytes{disk="d1"} 3`,
		`datanode_data_disk_reserve_bytes{disk="d0"} 1`, `datanode_data_disk_state{disk="d0",state="ok"} 1`,
		`datanode_data_disk_state{disk="d2",state="ok"} 0`, `datanode_data_disk_state{disk="d2",state="missing"} 1`,
		`datanode_data_disk_refuses{disk="d0"} 0`, `datanode_data_disk_refuses{disk="d1"} 1`,
		`datanode_data_disk_refuses{disk="d2"} 1`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	if strings.Contains(body, `bytes{disk="d2"}`) {
		t.Error("the metrics have sizes of a disk that is not there")
	}
	if got := limitOf(state.Unbounded); !math.IsInf(got, 1) {
		t.Errorf("no limit is %v", got)
	}
}
