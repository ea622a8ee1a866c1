package plugins

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
)

// A batch that is copied is the same as one written record by record, whatever was there before, and
// takes no byte more.
func TestPutFacts(t *testing.T) {
	const seed = 5
	g := policytest.NewGenerator(seed)
	for _, n := range []int{1, 2, 3, 64, batchMost} {
		facts := make([]policies.Facts, n)
		var want []byte
		for i := range facts {
			facts[i] = g.Facts()
			unsafe.Slice((*byte)(unsafe.Pointer(&facts[i])), factsBytes)[factsZeroAt] = 0xaa // what is between the fields
			want = AppendFacts(want, &facts[i])
		}
		have := bytes.Repeat([]byte{0xee}, len(want)+8)
		putFacts(have[:len(want)], facts)
		if !bytes.Equal(have, append(want, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee)) {
			t.Errorf("%d records of seed %d:\n%x, want\n%x", n, seed, have, want)
		}
	}
}

// The same for scores, and what ParseScore refuses is refused wherever it is in the batch.
func TestTakeScores(t *testing.T) {
	const seed = 6
	r := rand.New(rand.NewPCG(seed, seed))
	for _, n := range []int{1, 2, 3, 64, batchMost} {
		want := make([]policies.Score, n)
		var answers []byte
		for i := range want {
			want[i] = policies.Score{Priority: int32(r.Uint32()), Reason: uint16(r.Uint32())}
			answers = AppendScore(answers, want[i])
		}
		have := make([]policies.Score, n)
		if err := takeScores(have, answers, 1<<16); err != nil || !slices.Equal(have, want) {
			t.Errorf("%d scores of seed %d: %v, %v, want %v", n, seed, have, err, want)
		}
		bad := r.IntN(n)
		for at := 8*bad + 6; at < 8*bad+8; at++ {
			damaged := slices.Clone(answers)
			damaged[at] = byte(1 + r.IntN(255))
			err := takeScores(have, damaged, 1<<16)
			if text := "answer " + strconv.Itoa(bad) + ": score: bytes 6 and 7"; err == nil ||
				!strings.Contains(err.Error(), text) {
				t.Errorf("byte %d of %d scores is %#x: %v, want %s", at, n, damaged[at], err, text)
			}
		}
	}
}
