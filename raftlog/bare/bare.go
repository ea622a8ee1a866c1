// Package bare is the engine of the operation log with nothing around it: what a benchmark of the log compares with.
// Three nodes in this process have stores of the log's own kind in folders of their own, and sockets between them; what
// they agree on is thrown away.
//
// Callers may be any number of goroutines. The engine's goroutines, and the one of a committer, end with Close.
package bare

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

const (
	nodes        = 3
	maxPool      = 3
	ioTimeout    = 10 * time.Second
	applyTimeout = 10 * time.Second
	leaderWithin = 30 * time.Second
	maxWaiting   = 1024 // for the committer
	maxTogether  = 4096 // calls in one entry of the committer
)

// Cell is a group of nodes that agree on bytes.
type Cell struct {
	nodes  []*raft.Raft
	stores []io.Closer
	leader *raft.Raft

	waiting   chan waiting
	closing   chan struct{}
	committer sync.WaitGroup
}

// waiting is a call on its way into an entry of the committer.
type waiting struct {
	data []byte
	done chan error // buffered, one
}

// Open starts a cell whose stores are in folders under dir, and waits for its leader.
func Open(dir string) (c *Cell, err error) {
	c = &Cell{waiting: make(chan waiting, maxWaiting), closing: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	var nets []*raft.NetworkTransport
	var servers []raft.Server
	for i := range nodes {
		net, err := raft.NewTCPTransport("127.0.0.1:0", nil, maxPool, ioTimeout, io.Discard)
		if err != nil {
			return c, err
		}
		c.stores = append(c.stores, net)
		nets = append(nets, net)
		servers = append(servers, raft.Server{ID: serverID(i), Address: net.LocalAddr()})
	}
	for i, net := range nets {
		if err := c.start(filepath.Join(dir, string(serverID(i))), i, net, servers); err != nil {
			return c, err
		}
	}
	if c.leader, err = c.elected(); err != nil {
		return c, err
	}
	c.committer.Go(c.commit)
	return c, nil
}

func serverID(i int) raft.ServerID { return raft.ServerID(fmt.Sprintf("n%d", i+1)) }

func (c *Cell) start(dir string, i int, net *raft.NetworkTransport, servers []raft.Server) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	store, err := raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(dir, "log.db"), // options as the log's own
		BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if err != nil {
		return err
	}
	c.stores = append(c.stores, store)
	conf := raft.DefaultConfig()
	conf.LocalID = serverID(i)
	conf.Logger = hclog.NewNullLogger()
	conf.NoLegacyTelemetry = true
	conf.SnapshotThreshold = math.MaxUint64
	snapshots := raft.NewDiscardSnapshotStore()
	if i == 0 {
		err := raft.BootstrapCluster(conf, store, store, snapshots, net, raft.Configuration{Servers: servers})
		if err != nil {
			return err
		}
	}
	node, err := raft.NewRaft(conf, nothing{}, store, store, snapshots, net)
	if err != nil {
		return err
	}
	c.nodes = append(c.nodes, node)
	return nil
}

// elected waits for the leader. Only the first node knows of the others, so it is that.
func (c *Cell) elected() (*raft.Raft, error) {
	limit := time.NewTimer(leaderWithin)
	defer limit.Stop()
	for {
		select {
		case leads := <-c.nodes[0].LeaderCh():
			if leads {
				return c.nodes[0], nil
			}
		case <-limit.C:
			return nil, fmt.Errorf("no leader within %s", leaderWithin)
		}
	}
}

// Alone has data agreed on in an entry of its own.
func (c *Cell) Alone(data []byte) error { return c.leader.Apply(data, applyTimeout).Error() }

// Together has data agreed on in an entry with what others ask for while an earlier entry is under way.
func (c *Cell) Together(data []byte) error {
	w := waiting{data: data, done: make(chan error, 1)}
	select {
	case c.waiting <- w:
	case <-c.closing:
		return errClosed
	}
	select {
	case err := <-w.done:
		return err
	case <-c.closing:
		return errClosed
	}
}

var errClosed = errors.New("the cell is closed")

// commit has one entry under way at a time, of all that wait.
func (c *Cell) commit() {
	for {
		var batch []waiting
		select {
		case w := <-c.waiting:
			batch = append(batch, w)
		case <-c.closing:
			return
		}
		for len(batch) < maxTogether && len(c.waiting) > 0 {
			batch = append(batch, <-c.waiting)
		}
		var entry []byte
		for _, w := range batch {
			entry = append(entry, w.data...)
		}
		err := c.Alone(entry)
		for _, w := range batch {
			w.done <- err
		}
	}
}

// Close ends the nodes, and closes what they have open.
func (c *Cell) Close() error {
	close(c.closing)
	c.committer.Wait()
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.Shutdown().Error())
	}
	for _, s := range c.stores {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// nothing is a state machine that forgets. The engine hands it entries in batches, as it does to the log's own.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) ApplyBatch(logs []*raft.Log) []any   { return make([]any, len(logs)) }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("there is no state") }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }
