//go:build !wasip1

package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc64"
	"iter"
	"os"
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

// MakeStoredSnapshot puts a snapshot of the state after an entry into the folder of a log that MakeStored has made.
func MakeStoredSnapshot(dir string, index state.Index) error {
	s, err := OpenStored(dir)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // it was only read
	view, err := s.StateAt(index)
	if err != nil {
		return err
	}
	chain, _, err := s.ChainAt(index)
	if err != nil {
		return err
	}
	conf := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}, {ID: "n2", Address: "n2",
		Suffrage: raft.Nonvoter}}}
	id := fmt.Sprintf("%d-%d-%d", madeTerm, index, view.NowMicros/1000)
	meta := snapshotMeta{SnapshotMeta: raft.SnapshotMeta{Version: raft.SnapshotVersionMax, ID: id, Index: uint64(index),
		Term: madeTerm, Configuration: conf, ConfigurationIndex: 1}}
	folder := filepath.Join(dir, snapshotDir, id)
	if err := os.MkdirAll(folder, dirPerm); err != nil {
		return err
	}
	var out bytes.Buffer
	snap := snapshot{view: view, chain: chain, points: chainPoints{chain}, covers: coversOf(&meta.SnapshotMeta)}
	if err := snap.write(&out); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, stateFile), out.Bytes(), filePerm); err != nil {
		return err
	}
	meta.Size, meta.CRC = int64(out.Len()), crc64Of(out.Bytes())
	return meta.write(folder)
}

func crc64Of(b []byte) []byte {
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	_, _ = sum.Write(b) // never fails
	return sum.Sum(nil)
}

// LogFile is the file of the log in a node's folder of it.
func LogFile(dir string) string { return filepath.Join(dir, logFile) }
