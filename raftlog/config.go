package raftlog

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// Server is a member of the group.
type Server struct {
	ID   state.NodeID
	Addr string // host:port of the node's listener
}

// Timing is how patient the group is. Zero fields take their defaults. Heartbeats go through the
// engine's main loop, behind its disk writes, so that less than two seconds is for tests.
type Timing struct {
	Heartbeat   time.Duration // a follower that hears nothing for longer stands for election; 2s
	Election    time.Duration // at least Heartbeat; 2s
	LeaderLease time.Duration // a leader that reaches no quorum for longer steps down; 1s
	Commit      time.Duration // how late an idle follower may learn of a commit; 20ms
	Snapshot    time.Duration // how often it is looked whether a snapshot is due; 30s
	StoreHang   time.Duration // a write that takes longer costs the leadership, until it returns; 2.5s
	StoreWrite  time.Duration // a disk that takes longer counts as hung for good; 15s
}

func (t Timing) withDefaults() Timing {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&t.Heartbeat, 2*time.Second)
	or(&t.Election, t.Heartbeat)
	or(&t.LeaderLease, t.Heartbeat/2)
	or(&t.Commit, 20*time.Millisecond)
	or(&t.Snapshot, 30*time.Second)
	or(&t.StoreHang, 2500*time.Millisecond)
	or(&t.StoreWrite, 15*time.Second)
	return t
}

// Config is what Open needs. Fields without a stated default are required.
type Config struct {
	Dir       string // the log's own directory; made if it is missing
	ID        state.NodeID
	Cell      string // a snapshot of another cell is refused
	Advertise string // host:port by which others reach this node
	Layer     StreamLayer
	// Bootstrap are the voters of a new group, this node among them. It is ignored where there is a log
	// already. Empty: wait to be added to a group.
	Bootstrap []Server
	// Held says that this node was let into its group with what is in Dir: there must be a log, and while that has the
	// node at another address than Advertise, it has no say. See away.
	Held bool
	// Addresses are where members are now, where that is not what the log says. The leader brings the log up to
	// them; from then on they count for nothing.
	Addresses map[state.NodeID]string
	Logger    *slog.Logger     // default: silence
	Now       func() time.Time // default: time.Now
	Timing    Timing
	// SnapshotEvery is after how many entries a snapshot is taken; 8192.
	SnapshotEvery uint64
	// TrailingLogs is how many entries before the snapshot stay in the log, for followers that are
	// behind and people who read; 10240.
	TrailingLogs uint64
	Stores       *Stores // default: in Dir
	// MakeRoom is called when the disk is full and the log must write. It reports whether there is room now, so that
	// another try may do. Called from any goroutine, under none of the group's locks. Default: there never is.
	MakeRoom func() bool
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Timing = c.Timing.withDefaults()
	if c.MakeRoom == nil {
		c.MakeRoom = func() bool { return false }
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 8192
	}
	if c.TrailingLogs == 0 {
		c.TrailingLogs = 10240
	}
	return c
}

func (c *Config) valid() error {
	switch {
	case c.ID == "":
		return fmt.Errorf("raftlog: config has no ID")
	case c.Advertise == "":
		return fmt.Errorf("raftlog: config has no Advertise address")
	case c.Layer == nil:
		return fmt.Errorf("raftlog: config has no Layer")
	case c.Dir == "" && c.Stores == nil:
		return fmt.Errorf("raftlog: config has neither Dir nor Stores")
	}
	if len(c.Bootstrap) == 0 {
		return nil
	}
	for _, s := range c.Bootstrap {
		if s.ID == c.ID {
			return nil
		}
	}
	return fmt.Errorf("raftlog: node %s is not among the nodes to bootstrap", c.ID)
}

// maxAppendEntries is how many entries go into one message, and are applied in one go. With
// maxEntryBytes it bounds a message to 16 MiB.
const maxAppendEntries = 32

func (c *Config) engine() *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = raft.ServerID(c.ID)
	r.HeartbeatTimeout = c.Timing.Heartbeat
	r.ElectionTimeout = c.Timing.Election
	r.LeaderLeaseTimeout = c.Timing.LeaderLease
	r.CommitTimeout = c.Timing.Commit
	r.SnapshotInterval = c.Timing.Snapshot
	r.SnapshotThreshold = c.SnapshotEvery
	r.TrailingLogs = c.TrailingLogs
	r.MaxAppendEntries = maxAppendEntries
	// A node that was removed stays, and follows nobody, so that it can say so.
	r.ShutdownOnRemove = false
	r.NoLegacyTelemetry = true
	return r
}
