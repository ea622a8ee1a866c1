// Package node assembles a datanode from the packages below it, each of which knows one thing, and hands each what it
// needs of the others: values where they are made before it, functions where they are made later.
//
//   - transport, fair: who calls, over what, and when it is their turn. Routes (routes.go) say who serves which call.
//   - datapath, replica, scrub: what is done with bytes, for clients and because the log says so.
//   - lead, schedule, modules: what the node decides while it leads the cell.
//   - member, submitter, report: how the node stays in its cell, and how what it wants and reports gets into the log.
//   - api, web, describe, health: what is shown of all that.
//
// Everything that decides something goes through the log. Executors are level-triggered: they look at what the state
// says should be running here and at what is, and make the second like the first. No message can be lost by them,
// because there is none.
//
// Goroutines. Start makes everything and then starts a loop for each part that has one (Node.run); each connection and
// each call has goroutines of the transport. All end with the lifecycle's context, and Close waits for them.
//
// Locks. Node has none of its own. What is set while the node starts never changes; what changes belongs to a part,
// which says what guards it.
package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire/mux"
)

// Peer is a node by ID and address.
type Peer struct {
	ID   string
	Addr string // host:port
}

// Config says what a node is. ID, Dir and one of Listen and Listener are needed, and for a new
// folder one of Bootstrap and Join.
type Config struct {
	ID        string
	Dir       string
	Disks     []string          // folders of further disks, beside Dir, which has the log
	Listen    string            // host:port of the one listener
	Listener  net.Listener      // instead of Listen
	Advertise string            // what others dial; empty: the listener's address
	HTTP      string            // host:port for health and metrics; empty: none
	HTTPHosts []string          // names that HTTP may be asked by, besides addresses and those that others dial
	HTTPPlain bool              // HTTP is plaintext, although there is a certificate
	Bootstrap []Peer            // the voters of a new cell, this node among them
	Join      []string          // addresses of a cell to join
	TLS       pki.Files         // this node's certificate; none: plaintext
	Insecure  bool              // allow plaintext beyond loopback
	Settings  map[string]string // of a new cell, where they differ from the default
	// ClientMemory is how many bytes clients may make this node hold, all together, besides ½ MiB for each connection;
	// 0: DefaultClientMemory. Whoever finds none is refused, and told when to ask again.
	ClientMemory int
	// RepairMemory is how many bytes all repairs and moves may make this node hold; 0: DefaultRepairMemory. Those that
	// find none wait.
	RepairMemory int

	Policies      modules.Host // nil: the native default decides everything
	DefaultModule []byte       // loaded and activated in a new cell; needs Policies

	// Clock, Dial and FS are the seams to the world; Listener is the fourth. Zero values are the real
	// ones. The log's own files and those of TLS are outside of FS.
	Clock mux.Clock
	Dial  func(ctx context.Context, addr string) (net.Conn, error)
	FS    vfs.FS

	Logger  *slog.Logger // nil: none
	Version string
	Fast    bool // shorter timings, for cells in one process

	trailingLogs uint64 // entries that stay behind a snapshot, for tests; 0: as many as the log says
}

// DefaultClientMemory and LeastClientMemory are values of Config.ClientMemory: one put may need 3 MiB.
const (
	DefaultClientMemory = connlimit.ClientPoolBytes
	LeastClientMemory   = 16 << 20
)

// DefaultRepairMemory and LeastRepairMemory are values of Config.RepairMemory.
const (
	DefaultRepairMemory = replica.DefaultCopyMemory
	LeastRepairMemory   = replica.LeastCopyMemory
)

// timing is how often and how long. All are wall-clock durations.
type timing struct {
	heartbeat  time.Duration // node to leader
	downAfter  time.Duration // silence after which the leader calls a node down
	tick       time.Duration // how often loops look even when nothing has changed
	stepLimit  time.Duration // one step of an executor, one append to a replica
	sender     time.Duration // from one chunk of a client's put to the next
	silence    time.Duration // on a connection to a node, after which it counts as broken; downAfter is longer
	lagLimit   time.Duration // how long a step waits for this node to apply the entry that lets it begin
	dialLimit  time.Duration
	firstByte  time.Duration // from accept until it is known who is there and what follows
	drainLimit time.Duration
	// createPatience is how long a put is kept waiting for an extent: a leader that was lost is replaced in two to
	// six seconds, and a node that was lost is given replicas until it is called down.
	createPatience time.Duration
	probe          time.Duration // how often a further disk is tried, whether anything is written to it or not
	idleLook       time.Duration // how often it is looked for open extents that nobody puts to; see datapath.IdleLooks
}

func (c Config) timing() timing {
	t := timing{
		heartbeat: 500 * time.Millisecond, downAfter: 4 * time.Second, tick: time.Second,
		stepLimit: 30 * time.Second, sender: 2 * time.Minute, silence: 2500 * time.Millisecond, lagLimit: 2 * time.Second,
		dialLimit: 2 * time.Second, firstByte: 5 * time.Second, drainLimit: 10 * time.Second,
		createPatience: 12 * time.Second,
		probe:          10 * time.Second,
		idleLook:       time.Minute,
	}
	if c.Fast {
		t.heartbeat, t.downAfter, t.tick = 200*time.Millisecond, 3*time.Second, 100*time.Millisecond
		t.probe = time.Second
	}
	return t
}

func (c Config) withDefaults() Config {
	c.Clock = clock.Of(c.Clock).Clock
	if c.Dial == nil {
		c.Dial = transport.DialTCP
	}
	if c.FS == nil {
		c.FS = vfs.OS{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) valid() error {
	switch {
	case c.ID == "" || len(c.ID) > 64:
		return fmt.Errorf("a node needs an ID of 1 to 64 bytes, such as n1")
	case c.Dir == "":
		return fmt.Errorf("a node needs a data folder")
	case c.Listen == "" && c.Listener == nil:
		return fmt.Errorf("a node needs an address to listen on")
	case c.ClientMemory != 0 && c.ClientMemory < LeastClientMemory:
		return fmt.Errorf("a node needs %d bytes of memory for its clients, not %d", LeastClientMemory, c.ClientMemory)
	case c.RepairMemory != 0 && c.RepairMemory < LeastRepairMemory:
		return fmt.Errorf("a node needs %d bytes of memory for its repairs, not %d", LeastRepairMemory, c.RepairMemory)
	case len(c.Bootstrap) > 0 && len(c.Join) > 0:
		return fmt.Errorf("a node either bootstraps a cell or joins one, not both")
	}
	if err := schedule.CheckZones(c.Settings[state.KeyQuietWindows]); err != nil {
		return fmt.Errorf("setting %s: %w", state.KeyQuietWindows, err)
	}
	for _, p := range c.Bootstrap {
		if p.ID == c.ID {
			return nil
		}
	}
	if len(c.Bootstrap) > 0 {
		return fmt.Errorf("the bootstrap list does not name this node, %s", c.ID)
	}
	return nil
}

// loopback tells whether an address is reached from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
