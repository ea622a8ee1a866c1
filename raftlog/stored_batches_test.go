package raftlog

import (
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Records come in their order, whoever decodes them, and each is as it was read, although the reader uses its buffer
// again.
func TestInOrder(t *testing.T) {
	const count = 5*batchRecords + 3
	for _, end := range []int{count, 1, firstRecords, firstRecords + 1, batchRecords, 3*batchRecords + 7} {
		ended := false
		records := func(yield func(storedRecord) bool) {
			defer func() { ended = true }()
			var page [8]byte
			for i := range count {
				binary.BigEndian.PutUint64(page[:], uint64(i))
				if !yield(storedRecord{index: state.Index(i), raw: page[:]}) {
					return
				}
			}
		}
		next := 0
		for r := range inOrder(records, func(r storedRecord) storedRecord { return r }) {
			if at := binary.BigEndian.Uint64(r.raw); at != uint64(next) || r.index != state.Index(next) {
				t.Fatalf("record %d says %d, want %d", r.index, at, next)
			}
			if next++; next == end {
				break
			}
		}
		if next != end || !ended {
			t.Errorf("%d records came, want %d; the goroutine that reads has ended: %t", next, end, ended)
		}
	}
}

// The quick way through a body and the codec's come to the same, and what is written in another way is left to the
// codec.
func TestParseCommandsBothWays(t *testing.T) {
	commands := []state.Command{
		&state.Genesis{Cell: "c"},
		&state.Admit{Kind: policies.KindCreate, Replicas: []state.NodeID{"n1", "n2"}, Forced: true, AskedBy: "admin/me",
			Decision: state.Decision{Priority: -5, Reason: "why", Facts: policies.Facts{Class: [16]byte{'a', 15: 'z'}},
				Conflicts: []state.Conflict{{With: 1 << 40, Final: policies.Wait}}}},
		&state.LoadPolicy{Digest: "sha256:1", Config: map[string]string{"a": "b"}},
		&state.Start{Op: 1 << 50, Executor: "n3"},
	}
	quick, err := AppendCommands(nil, commands)
	if err != nil {
		t.Fatal(err)
	}
	if raw, ok := splitBody(nil, quick); !ok || len(raw) != len(commands) {
		t.Errorf("a body as it is written is not read the quick way")
	}
	raw, _ := splitBody(nil, quick)
	other, err := wire.Marshal(raw) // with a head of one byte instead of five
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"quick": quick, "codec": other} {
		if got, err := ParseCommands(body); err != nil || !reflect.DeepEqual(got, commands) {
			t.Errorf("%s: read as %+v, %v; want %+v", name, got, err, commands)
		}
	}
	for name, bad := range map[string][]byte{
		"cut": quick[:len(quick)-1], "with a tail": append(quick[:len(quick):len(quick)], 0),
		"counts too many": append([]byte{array32, 0, 0, 0, 9}, quick[5:]...),
	} {
		if got, err := ParseCommands(bad); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}
