package guest

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"unsafe"

	"github.com/datanode/datanode/plugins/abi"
	"github.com/datanode/datanode/plugins/guest/internal/golden"
)

func readGolden(t *testing.T) []golden.Batch {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	batches, err := golden.Parse(text)
	if err != nil || len(batches) != 6 {
		t.Fatalf("%d batches, %v, want 6", len(batches), err)
	}
	return batches
}

// The golden batches name every field that the schema has, or one could be added and never be tested.
func TestGoldenHasEveryFact(t *testing.T) {
	var want []string
	for _, f := range abi.V1().Facts.Fields {
		if !f.Type.IsZero() {
			want = append(want, f.Name)
		}
	}
	for _, b := range readGolden(t) {
		var have []string
		for _, v := range b.Told {
			if v.Name != "same_node" {
				have = append(have, v.Name)
			}
		}
		facts := b.Count
		if b.Conflict {
			facts *= 2
		}
		if !slices.Equal(have, slices.Repeat(want, facts)) {
			t.Errorf("%s The facts of %d records are %v", b.Title, b.Count, have)
		}
	}
}

// The Go binding reads and answers the golden batches.
func TestGolden(t *testing.T) {
	for _, b := range readGolden(t) {
		var told []golden.Value
		p := Policy{
			Score: func(f *Facts) (int32, Reason) {
				told = append(told, f.told()...)
				return int32(f.WaitingMicros), Reason(f.OpPlace)
			},
			Conflict: func(existing, incoming *Facts, sameNode bool) (Verdict, Reason) {
				told = append(told, golden.Value{Name: "same_node", Number: number(sameNode)})
				told = append(append(told, existing.told()...), incoming.told()...)
				return Verdict(incoming.Kind), Reason(existing.OpPlace)
			},
		}
		in, out := aligned(b.Bytes), aligned(make([]byte, len(b.Answers)))
		ask := p.score
		if b.Conflict {
			ask = p.conflict
		}
		ask(unsafe.Pointer(&in[0]), uint32(b.Count), unsafe.Pointer(&out[0]))
		if err := b.Compare(told, out); err != nil {
			t.Error(err)
		}
	}
}

// aligned is a copy of b aligned to 8, as the host aligns what it hands over.
func aligned(b []byte) []byte {
	words := make([]uint64, len(b)/8+1)
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(b))
	copy(bytes, b)
	return bytes
}

// told is what an echo policy says of the facts.
func (f *Facts) told() []golden.Value {
	return []golden.Value{
		{Name: "op_index", Number: int64(f.OpIndex)}, {Name: "extent", Number: int64(f.Extent)},
		{Name: "length_bytes", Number: int64(f.LengthBytes)},
		{Name: "now_micros", Number: f.NowMicros}, {Name: "waiting_micros", Number: f.WaitingMicros},
		{Name: "op_place", Number: int64(f.OpPlace)},
		{Name: "queued_ops", Number: int64(f.QueuedOps)}, {Name: "running_ops", Number: int64(f.RunningOps)},
		{Name: "running_same", Number: int64(f.RunningSame)}, {Name: "kind", Number: int64(f.Kind)},
		{Name: "phase", Number: int64(f.Phase)},
		{Name: "origin", Number: int64(f.Origin)}, {Name: "attempts", Number: int64(f.Attempts)},
		{Name: "extent_open", Number: number(f.ExtentOpen)},
		{Name: "live_replicas", Number: int64(f.LiveReplicas)}, {Name: "want_replicas", Number: int64(f.WantReplicas)},
		{Name: "class", Text: fmt.Sprintf("%x", f.Class)},
	}
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
