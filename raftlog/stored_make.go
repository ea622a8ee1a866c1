//go:build !wasip1

package raftlog

import (
	"errors"
	"iter"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/datanode/datanode/raftlog/state"
)

// madeTerm is the term of all that MakeStored writes, and madeAtOnce how many records go into one transaction.
const (
	madeTerm   = 2
	madeAtOnce = 512
)

// MakeStored writes a log as that of a node that has stopped, of entries with the leader's time and the commands of
// each, to measure and to try what reads it. It is not synced: no node may run on it. It answers how many entries there
// are.
func MakeStored(dir string, entries iter.Seq2[state.Micros, []state.Command]) (n int, err error) {
	db, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, logFile), NoSync: true,
		BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var logs []*raft.Log
	chain := ChainPoint{}
	for micros, commands := range entries {
		body, err := AppendCommands(nil, commands)
		if err != nil {
			return n, err
		}
		n++
		l := &raft.Log{Index: uint64(n), Term: madeTerm, Type: raft.LogCommand, AppendedAt: micros.Time(),
			Extensions: appendBase(nil, chain), Data: AppendEntry(nil, Entry{Version: uint8(state.LevelOf(commands)),
				Type: EntryCommands, Group: cellGroup, Micros: micros, Body: body})}
		seal(l)
		chain = chainAfter(chain, l)
		if logs = append(logs, l); len(logs) < madeAtOnce {
			continue
		}
		if err := db.StoreLogs(logs); err != nil {
			return n, err
		}
		logs = logs[:0]
	}
	if err := db.StoreLogs(logs); err != nil {
		return n, err
	}
	return n, db.SetUint64([]byte(keyTerm), madeTerm)
}

// LogFile is the file of the log in a node's folder of it.
func LogFile(dir string) string { return filepath.Join(dir, logFile) }
