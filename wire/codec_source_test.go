package wire

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// usual has the values that are decoded without the library.
type usual struct {
	Text  string
	Yes   bool
	No    bool
	Tag   [16]byte
	Long  [300]byte
	Names []string
	Count uint32
}

// Values of each way to write them come back, and strings do not change with the message that they were in.
func TestUsualValues(t *testing.T) {
	for _, length := range []int{0, 1, 31, 32, maxKnownBytes, maxKnownBytes + 1, 255, 256, 70_000} {
		for _, count := range []int{0, 1, 15, 16} {
			in := usual{Text: strings.Repeat("x", length), Yes: true, Tag: [16]byte{1, 15: 2}, Count: uint32(length),
				Long: [300]byte{3, 299: 4}, Names: make([]string, count)}
			for i := range in.Names {
				in.Names[i] = strings.Repeat("n", i)
			}
			for range 2 { // the second time they are known
				b, err := Marshal(in)
				if err != nil {
					t.Fatal(err)
				}
				var out usual
				if err := Unmarshal(b, &out); err != nil {
					t.Fatal(err)
				}
				clear(b)
				if !reflect.DeepEqual(out, in) {
					t.Errorf("%d bytes, %d names: %+v came back as %+v", length, count, in, out)
				}
			}
		}
	}
}

// Strings that fall into the same slot are told apart: there are several times as many as slots, all of one length.
func TestKnownStrings(t *testing.T) {
	var k knownStrings
	for round := range 2 {
		for i := range 4 * knownSlots {
			want := fmt.Sprintf("node-%06d", i)
			if got := k.string([]byte(want)); got != want {
				t.Fatalf("round %d: %q became %q", round, want, got)
			}
		}
	}
}
