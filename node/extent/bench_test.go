package extent

import (
	"fmt"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// BenchmarkAppend is an acknowledged append beside what it cannot be faster than: one write and one
// sync of the same bytes.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		p := pattern(1, size)
		b.Run(fmt.Sprintf("raw/%dKiB", size>>10), func(b *testing.B) {
			fs, dir := vfs.OS{}, b.TempDir()
			f, err := fs.Create(dir + "/raw")
			must(b, err)
			defer f.Close()
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				_, err := f.WriteAt(p, int64(i)*int64(size))
				must(b, err)
				must(b, f.Sync())
			}
		})
		b.Run(fmt.Sprintf("extent/%dKiB", size>>10), func(b *testing.B) {
			s, _, err := Open(vfs.OS{}, b.TempDir(), Options{})
			must(b, err)
			defer s.Close()
			must(b, s.Create(1, 1, 0))
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				must(b, s.Append(1, 1, uint64(i)*uint64(size), p))
			}
		})
	}
}

// BenchmarkRead reads what the page cache holds, verified.
func BenchmarkRead(b *testing.B) {
	s, _, err := Open(vfs.OS{}, b.TempDir(), Options{})
	must(b, err)
	defer s.Close()
	must(b, s.Create(1, 1, 0))
	must(b, s.Append(1, 1, 0, pattern(1, 16<<20)))
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				_, err := s.ReadAt(1, p, uint64(i)*uint64(size)%(16<<20))
				must(b, err)
			}
		})
	}
}

// BenchmarkOpen recovers one extent of 64 MiB, in records of the given size.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			fs := vfs.NewMem()
			s, _ := open(b, fs)
			must(b, s.Create(1, 1, 0))
			p := pattern(1, size)
			for off := 0; off < 64<<20; off += size {
				must(b, s.Append(1, 1, uint64(off), p))
			}
			must(b, s.Close())
			b.SetBytes(64 << 20)
			for b.Loop() {
				s, _ := open(b, fs)
				must(b, s.Close())
			}
		})
	}
}
