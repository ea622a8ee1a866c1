package extent

import (
	"context"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"testing"
	"time"

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

var benchExtents = flag.Int("extents", 2000, "how many sealed extents BenchmarkOpenSealed opens a store of")

// BenchmarkOpenSealed opens a store of many small sealed extents: without a catalogue, as the first start of a build
// that knows of it does, with one, and then looks into each of them. Give -extents and -benchtime 1x.
func BenchmarkOpenSealed(b *testing.B) {
	dir := b.TempDir()
	s, _, err := Open(vfs.OS{}, dir, Options{})
	must(b, err)
	for id := range ID(*benchExtents) {
		must(b, s.ensureFan(s.dir.fan(id)))
		must(b, os.WriteFile(s.dir.extent(id), sealedFile(id, 100), 0o600)) // a sync each would take an hour
	}
	must(b, s.Close())
	bench := func(name string, prepare func(), look bool) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				prepare()
				heap := liveBytes()
				began := time.Now()
				s, r, err := Begin(vfs.OS{}, dir, Options{})
				must(b, err)
				b.ReportMetric(time.Since(began).Seconds(), "s/begin")
				_, err = r.Run(context.Background())
				must(b, err)
				b.ReportMetric(time.Since(began).Seconds(), "s/open")
				for id := range ID(*benchExtents) {
					if !look {
						break
					}
					_, err := s.Stat(id)
					must(b, err)
				}
				b.ReportMetric(float64(liveBytes()-heap)/float64(*benchExtents), "B/extent")
				must(b, s.Close())
			}
		})
	}
	bench("without catalogue", func() { must(b, removeIfThere(vfs.OS{}, s.dir.catalogue())) }, false)
	must(b, removeIfThere(vfs.OS{}, s.dir.catalogue()))
	s, _, err = Open(vfs.OS{}, dir, Options{})
	must(b, err)
	s.writeCatalogue()
	must(b, s.Close())
	bench("with catalogue", func() {}, false)
	bench("and each looked into", func() {}, true)
}

func liveBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// sealedFile is the file of a sealed extent of n bytes in one record.
func sealedFile(id ID, n int) []byte {
	p := pattern(uint64(id), n)
	buf := AppendRecord(appendFileHeader(nil, fileHeader{id: id, fence: 1, birth: 7}), id, Record{Payload: p})
	buf = AppendRecord(buf, id, Record{Offset: uint64(n), Floor: uint64(n)})
	st := state{created: 1, birth: 7, idx: newIndex()}
	st.idx.addAll(n)
	st.idx.add(uint64(n), 0, st.idx.endPos)
	return append(buf, st.finish(id, &verified{sum: crc32.Checksum(p, castagnoli)})...)
}
