package raftlog

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

var storedEntries = flag.Int("stored-entries", 20_000, "entries of the log that BenchmarkStored reads")

// writeLog makes a log of n entries as a busy cell would: creates that are admitted, started and finished.
func writeLog(b *testing.B, dir string, n int) {
	b.Helper()
	made, err := MakeStored(dir, func(yield func(state.Micros, []state.Command) bool) {
		for i := 1; i <= n; i++ {
			op := state.NewOpID(state.Index((i-1)/3*3+1), 0)
			var c state.Command
			switch i % 3 {
			case 1:
				c = &state.Admit{Kind: policies.KindCreate, Origin: policies.OriginUser, Want: 3, AskedBy: "client/app",
					Replicas: []state.NodeID{"n1", "n2", "n3"}, Decision: state.Decision{Priority: 10000,
						Reason: "create: a client waits", Policy: "sha256:8977c22ce8eeeb356eb049ad94961746d9a18f82d8bf8dc9a356419c"}}
			case 2:
				c = &state.Start{Op: op, Executor: "n1"}
			default:
				c = &state.Finish{Op: op, Fence: state.Fence(i - 1), Outcome: state.OutcomeDone}
			}
			if !yield(state.Micros(1.7e15+i), []state.Command{c}) {
				return
			}
		}
	})
	if err != nil || made != n {
		b.Fatal(made, err)
	}
}

// BenchmarkStored reads a stopped node's log in several ways, beside a cursor of the store over the same file that
// looks at nothing.
func BenchmarkStored(b *testing.B) {
	dir := b.TempDir()
	writeLog(b, dir, *storedEntries)
	rate := func(b *testing.B) {
		b.ReportMetric(float64(*storedEntries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	}
	b.Run("cursor", func(b *testing.B) {
		db, err := bbolt.Open(filepath.Join(dir, logFile), 0o600, &bbolt.Options{ReadOnly: true})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		sum := 0
		for range b.N {
			err = db.View(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(bucketLog)).ForEach(func(_, v []byte) error {
					sum += len(v) + int(v[len(v)-1])
					return nil
				})
			})
		}
		if err != nil || sum == 0 {
			b.Fatal(err)
		}
		rate(b)
	})
	open := func(b *testing.B) *Stored {
		s, err := OpenStored(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		return s
	}
	b.Run("entries", func(b *testing.B) {
		s := open(b)
		for range b.N {
			n := 0
			for e := range s.Entries(0, 0, false) {
				if e.Err != nil {
					b.Fatal(e.Err)
				}
				n++
			}
			if n != *storedEntries {
				b.Fatal(fmt.Errorf("%d entries", n))
			}
		}
		rate(b)
	})
	b.Run("verify", func(b *testing.B) {
		s := open(b)
		for range b.N {
			rep, err := s.Verify(b.Context())
			if err != nil || rep.Bad != nil {
				b.Fatal(err, rep.Bad)
			}
		}
		rate(b)
	})
}
