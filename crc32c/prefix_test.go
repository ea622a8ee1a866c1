package crc32c

import (
	"math/rand/v2"
	"testing"
)

// Whatever some bytes are, as many zeros with four bytes before them have the same sum, wherever they stand.
func TestPrefix(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 500 {
		n := 4 + r.IntN(64<<10)
		if i < 64 {
			n = 4 + i
		}
		was := random(uint64(i), n)
		p := Prefix(Sum(was), int64(n))
		is := make([]byte, n)
		copy(is, p[:])
		if Sum(is) != Sum(was) {
			t.Fatalf("%d bytes: sum %08x, want %08x", n, Sum(is), Sum(was))
		}
		before, after := random(9, i), random(10, 100)
		if a, b := reference(before, is, after), reference(before, was, after); a != b {
			t.Fatalf("%d bytes among others: sum %08x, want %08x", n, a, b)
		}
	}
}

// Of bytes that are zeros already nothing changes.
func TestPrefixOfZeros(t *testing.T) {
	for n := int64(4); n < 5000; n++ {
		if want := reference(make([]byte, n)); Zeros(n) != want {
			t.Fatalf("sum of %d zeros: %08x, want %08x", n, Zeros(n), want)
		}
		if p := Prefix(Zeros(n), n); p != [4]byte{} {
			t.Fatalf("%d zeros: prefix %x", n, p)
		}
	}
}
