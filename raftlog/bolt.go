//go:build !wasip1

package raftlog

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const lockTimeout = time.Second

// diskStores opens or makes the stores in dir. Every write is synced before it returns.
func diskStores(dir string, logger hclog.Logger) (*Stores, error) {
	for _, d := range []string{dir, filepath.Join(dir, snapshotDir)} { // the engine would let others look in
		if err := ownDir(d); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(dir, logFile)
	db, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		// The free list is found again by a scan on opening. Written with each append it would double what that writes,
		// and be thirty times as much for good once a long log was compacted (bbolt v1.5.0).
		BoltOptions: &bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use by another process", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	// What is kept is decided by snapshots, since this one would count those that are damaged.
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, math.MaxInt, logger)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Stores{log: db, stable: db, snapshots: snapshots, snapshotDir: filepath.Join(dir, snapshotDir), file: path,
		close: db.Close}, nil
}
