//go:build !wasip1

package raftlog

import (
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// An entry takes no more to write once a long log has been compacted. As the store comes, it would take thirty times as
// much for good: raft-boltdb v2.3.1 has bbolt write the list of all free pages with each of them.
func TestCompactionLeavesEntriesCheap(t *testing.T) {
	stores, err := diskStores(t.TempDir(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer stores.close()
	store := stores.log.(*raftboltdb.BoltStore)
	last := uint64(0)
	put := func(count, size int) {
		logs := make([]*raft.Log, count)
		for i := range logs {
			last++
			logs[i] = &raft.Log{Index: last, Term: 1, Data: make([]byte, size)}
		}
		if err := store.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
	}
	// each is how many bytes of pages one entry of 200 bytes takes.
	each := func() int64 {
		const count = 20
		before := store.Stats()
		for range count {
			put(1, 200)
		}
		after := store.Stats()
		return (after.TxStats.GetPageAlloc() - before.TxStats.GetPageAlloc()) / count
	}
	for range 100 {
		put(400, 1000)
	}
	long := each()
	if err := store.DeleteRange(1, last-1000); err != nil {
		t.Fatal(err)
	}
	if compacted := each(); compacted > 2*long {
		t.Errorf("an entry writes %d bytes after compaction, %d before", compacted, long)
	}
}
