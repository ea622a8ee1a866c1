// Package logbench is what reading a stored log is measured with: a log as a busy cell writes it, and the ways of
// others through the same file. It starts no goroutine.
package logbench

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// Asker is who asks for the operations of a log that Make makes.
const Asker = "client/app"

// kept is how many extents there are before one is deleted for each that is created.
const kept = 1000

// Make writes a log of n entries, or of a few more, into dir: of a cell of three nodes in which clients create extents,
// and delete the oldest, an operation after the other. All commands are carried out, as in a cell, so that each says
// what it would there.
func Make(dir string, n int) (entries int, err error) {
	return raftlog.MakeStored(dir, func(yield func(state.Micros, []state.Command) bool) {
		made, more := 0, true
		cell := statetest.New()
		cell.Now = state.Micros(1.8e15)
		cell.Log = func(_ state.Index, micros state.Micros, commands []state.Command) {
			made++
			more = more && yield(micros, commands)
		}
		for lines := range cellLines() {
			cell.Now += 1500
			for _, line := range lines {
				cell.Run(line)
			}
			if made >= n || !more {
				return
			}
		}
	})
}

// cellLines are what the cell does, for statetest, without end. Each is a step that is whole in itself.
func cellLines() iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		if !yield([]string{"genesis bench", "join n1 n2 n3 voter"}) {
			return
		}
		for extent := 1; ; extent++ {
			if !yield([]string{"create on=n1,n2,n3 as=" + Asker, "start create executor=n1", "finish create done"}) {
				return
			}
			if old := extent - kept; old > 0 && !yield([]string{
				fmt.Sprintf("delete %d as=%s", old, Asker), "start delete executor=n1", fmt.Sprintf("gone %d n1", old),
				fmt.Sprintf("gone %d n2", old), fmt.Sprintf("gone %d n3", old),
			}) {
				return
			}
		}
	}
}

// Cursor goes over all records of the log in dir with a cursor of its store, and looks at nothing but their bytes.
func Cursor(dir string) (records int, err error) {
	db, err := bbolt.Open(raftlog.LogFile(dir), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	sum := byte(0)
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("logs")).ForEach(func(_, v []byte) error {
			for _, b := range v { // or the pages would not be read
				sum ^= b
			}
			records++
			return nil
		})
	})
	if closing := db.Close(); err == nil {
		err = closing
	}
	return records, err
}

// dumped is a record as Dump writes it.
type dumped struct {
	Index, Term uint64
	Type        string
	Body        []state.Command
}

// Dump writes all entries of the log in dir as JSON, as nomad operator raft logs does: through the engine's store,
// record by record, decoded and indented.
func Dump(dir string, to io.Writer) (records int, err error) {
	store, err := raftboltdb.New(raftboltdb.Options{Path: raftlog.LogFile(dir),
		BoltOptions: &bbolt.Options{ReadOnly: true}})
	if err != nil {
		return 0, err
	}
	first, err := store.FirstIndex()
	last := uint64(0)
	if err == nil {
		last, err = store.LastIndex()
	}
	out := json.NewEncoder(to)
	out.SetIndent("", "  ")
	for i := first; err == nil && i <= last; i++ {
		var l raft.Log
		if err = store.GetLog(i, &l); err != nil {
			break
		}
		d := dumped{Index: l.Index, Term: l.Term, Type: l.Type.String()}
		if l.Type == raft.LogCommand {
			var e raftlog.Entry
			if _, e, err = raftlog.ParseEntry(l.Data); err == nil {
				d.Body, err = raftlog.ParseCommands(e.Body)
			}
		}
		if err == nil {
			err = out.Encode(d)
		}
		records++
	}
	if closing := store.Close(); err == nil {
		err = closing
	}
	return records, err
}
