package crc32c

import (
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"
)

// reference sums with the standard library only.
func reference(parts ...[]byte) uint32 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, p := range parts {
		_, _ = h.Write(p) // a hash never fails
	}
	return h.Sum32()
}

// The check value of CRC-32C, and the examples of RFC 3720, appendix B.4.
func TestSumKnownValues(t *testing.T) {
	ones := make([]byte, 32)
	for i := range ones {
		ones[i] = 0xff
	}
	for _, c := range []struct {
		in   []byte
		want uint32
	}{{nil, 0}, {[]byte("123456789"), 0xe3069283}, {make([]byte, 32), 0x8a9136aa}, {ones, 0x62a8ab43}} {
		if got := Sum(c.in); got != c.want {
			t.Errorf("Sum(%q) = %08x, want %08x", c.in, got, c.want)
		}
	}
}

// Every way to cut some bytes in two gives the same sum.
func TestCombineAtEachCut(t *testing.T) {
	whole := random(1, 700)
	want := reference(whole)
	for cut := range len(whole) + 1 {
		a, b := whole[:cut], whole[cut:]
		if got := Combine(Sum(a), Sum(b), int64(len(b))); got != want {
			t.Fatalf("cut at %d: %08x, want %08x", cut, got, want)
		}
		if got := Update(Sum(a), b); got != want {
			t.Fatalf("updated from %d on: %08x, want %08x", cut, got, want)
		}
	}
}

// Lengths that no test can hold: what follows is as many zeros, in steps whose sums are known already.
func TestCombineLongLengths(t *testing.T) {
	head := reference(random(2, 100))
	zeros := Sum(make([]byte, 1)) // of n zeros
	sum, n := Combine(head, zeros, 1), int64(1)
	for n <= math.MaxInt64/2 {
		twice := Combine(zeros, zeros, n)
		if got, want := Combine(head, twice, 2*n), Combine(sum, zeros, n); got != want {
			t.Fatalf("%d zeros at once: %08x, in two halves %08x", 2*n, got, want)
		}
		if n = 2 * n; n <= 1<<24 {
			if want := Sum(make([]byte, n)); twice != want {
				t.Fatalf("%d zeros: %08x, want %08x", n, twice, want)
			}
		}
		sum, zeros = Combine(head, twice, n), twice
	}
}

func FuzzCombine(f *testing.F) {
	f.Add([]byte(""), []byte(""), []byte(""))
	f.Add([]byte("a"), []byte(""), []byte("bc"))
	f.Add(random(3, 300), random(4, 65536), random(5, 257))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		want := reference(a, b, c)
		ab := Combine(Sum(a), Sum(b), int64(len(b)))
		bc := Combine(Sum(b), Sum(c), int64(len(c)))
		if got := Combine(ab, Sum(c), int64(len(c))); got != want {
			t.Errorf("(a, b), c: %08x, want %08x", got, want)
		}
		if got := Combine(Sum(a), bc, int64(len(b)+len(c))); got != want {
			t.Errorf("a, (b, c): %08x, want %08x", got, want)
		}
	})
}

func random(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	p := make([]byte, n)
	_, _ = r.Read(p) // never fails
	return p
}

func BenchmarkCombine(b *testing.B) {
	for _, n := range []int64{64 << 10, 256<<10 - 1, 1<<40 - 1} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sum := uint32(1)
			for b.Loop() {
				sum = Combine(sum, 2, n)
			}
		})
	}
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{64, 4 << 10, 256 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := random(6, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				Sum(p)
			}
		})
	}
}
