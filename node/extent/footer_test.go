package extent

import (
	"bytes"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// sealedStore is a store, closed, whose extent 1 is sealed: many records of all lengths.
func sealedStore(t *testing.T, fs vfs.FS) (folder, []byte) {
	t.Helper()
	s, _ := open(t, fs)
	must(t, s.Create(1, 1, 0xcafe))
	var data []byte
	for i := range 200 {
		p := pattern(uint64(i), 1+i*7)
		must(t, s.Append(1, 1, uint64(len(data)), p))
		data = append(data, p...)
	}
	sum, err := s.SealSum(1, uint64(len(data)))
	if err != nil || sum != crc32.Checksum(data, castagnoli) {
		t.Fatalf("sealed with sum %#x, %v", sum, err)
	}
	must(t, s.Close())
	return s.dir, data
}

func fileOf(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.OpenRead(name)
	must(t, err)
	defer f.Close()
	buf, err := readWhole(f)
	must(t, err)
	return buf
}

// reads counts the reads of files from now on.
func reads(fault *vfs.Fault) *int {
	n := new(int)
	fault.Set(func(c vfs.Call) error {
		if c.Op == vfs.OpRead {
			*n++
		}
		return nil
	})
	return n
}

// A sealed extent costs an open one read, and is then all there: index, sum, birth, fence, what is acknowledged.
func TestSealedIsNotScanned(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	_, data := sealedStore(t, fault)
	n := reads(fault)
	s, report := open(t, fault)
	if *n > 2 || report.String() != "extents: 1\n" { // the fences, and the footer
		t.Fatalf("%d reads; %s", *n, report)
	}
	info, err := s.Stat(1)
	must(t, err)
	if info.Length != uint64(len(data)) || info.Birth != 0xcafe || info.Created != 1 || info.Floor == 0 || info.Cut {
		t.Fatalf("%+v", info)
	}
	wantBytes(t, s, 1, data)
	for _, at := range []int{0, 1, 77, 4000, 60_000, len(data) - 1} {
		p := make([]byte, 1)
		if _, err := s.ReadAt(1, p, uint64(at)); err != nil || p[0] != data[at] {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
	must(t, s.Close())
}

// A seal that is asked for again says the same sum, and reads nothing for it.
func TestSealSumTwice(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	s, _ := open(t, fault)
	must(t, s.Create(1, 1, 0))
	must(t, s.Append(1, 1, 0, pattern(1, 3*MaxRecordBytes)))
	first, err := s.SealSum(1, 100_000)
	must(t, err)
	n := reads(fault)
	again, err := s.SealSum(1, 100_000)
	if err != nil || again != first || *n != 0 {
		t.Fatalf("sum %#x, then %#x with %d reads: %v", first, again, *n, err)
	}
	_, err = s.SealSum(1, 99_999)
	wantCode(t, err, CodeSealed)
	must(t, s.Close())
}

// What cannot be read is not sealed.
func TestSealSumOfRot(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	must(t, s.Create(1, 1, 0))
	must(t, s.Append(1, 1, 0, pattern(1, 1000)))
	flip(t, fs, s.dir.extent(1), fileHeaderBytes+recordHeaderBytes+500)
	_, err := s.SealSum(1, 1000)
	wantCode(t, err, CodeCorrupt)
	if info, err := s.Stat(1); err != nil || info.Sealed {
		t.Fatalf("%+v, %v", info, err)
	}
	must(t, s.Close())
}

// A footer that is damaged, cut or has something behind it costs a scan: every byte is there, the end is not taken
// for a torn one, and the next open finds the footer whole.
func TestDamagedFooter(t *testing.T) {
	fs := vfs.NewMem()
	dir, data := sealedStore(t, fs)
	name := dir.extent(1)
	whole := fileOf(t, fs, name)
	f, err := fs.OpenRead(name)
	must(t, err)
	ft, _, err := readFooter(f, 1)
	must(t, errors.Join(err, f.Close()))
	begin := int(ft.idx.endPos)
	damaged := [][]byte{append(bytes.Clone(whole), "something behind it"...)}
	for at := begin; at < len(whole); at++ {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x10
		damaged = append(damaged, flipped)
	}
	for at := begin + 4; at < len(whole); at += 5 {
		damaged = append(damaged, whole[:at])
	}
	for i, file := range damaged {
		must(t, fs.Remove(name))
		must(t, createWith(fs, name, file))
		s, report := open(t, fs)
		if got := report.String(); got != "extents: 1\nfooter damaged: extent 1\n" {
			t.Fatalf("case %d: %s", i, got)
		}
		info, err := s.Stat(1)
		if err != nil || info.Cut || info.Length != uint64(len(data)) || info.Birth != 0xcafe {
			t.Fatalf("case %d: %+v, %v", i, info, err)
		}
		wantBytes(t, s, 1, data)
		must(t, s.Close())
		if s, report = open(t, fs); report.String() != "extents: 1\n" {
			t.Fatalf("case %d, opened again: %s", i, report)
		}
		must(t, s.Close())
	}
}

// A file of format 1, which ends with the mark, is read and appended to; sealed again it has a footer.
func TestFormat1(t *testing.T) {
	fs := vfs.NewMem()
	dir, data := sealedStore(t, fs)
	name := dir.extent(1)
	ft := parsedFooter(t, fs, name)
	f, err := fs.OpenRW(name)
	must(t, err)
	must(t, f.Truncate(ft.idx.endPos))
	must(t, errors.Join(f.Sync(), f.Close()))
	s, report := open(t, fs)
	if report.String() != "extents: 1\n" {
		t.Fatalf("report: %s", report)
	}
	wantBytes(t, s, 1, data)
	more := pattern(7, 10)
	must(t, s.Append(1, 1, uint64(len(data)), more))
	data = append(data, more...)
	must(t, s.Seal(1, uint64(len(data))))
	must(t, s.Close())
	if ft := parsedFooter(t, fs, name); ft.idx.end != uint64(len(data)) || ft.summed {
		t.Fatalf("the footer says %+v", ft)
	}
	// A reopened extent that was sealed takes appends as before, and its footer goes with the first.
	s, _ = open(t, fs)
	must(t, s.Append(1, 1, uint64(len(data)), []byte("x")))
	fs.Crash(nil)
	s, report = open(t, fs)
	if report.String() != "extents: 1\n" {
		t.Fatalf("report: %s", report)
	}
	wantBytes(t, s, 1, append(data, 'x'))
	must(t, s.Close())
}

func parsedFooter(t *testing.T, fs vfs.FS, name string) footer {
	t.Helper()
	f, err := fs.OpenRead(name)
	must(t, err)
	defer f.Close()
	ft, _, err := readFooter(f, 1)
	must(t, err)
	return ft
}

func FuzzParseFooter(f *testing.F) {
	x := newIndex()
	x.addAll(5*MaxRecordBytes + 3)
	x.add(x.end, 0, x.endPos)
	f.Add(appendFooter(nil, footer{header: fileHeader{id: 7, fence: 3, birth: 9}, acked: 5, summed: true, sum: 1, idx: x}))
	f.Add(appendFooter(nil, footer{header: fileHeader{id: 7}, idx: newIndex()}))
	f.Fuzz(func(t *testing.T, buf []byte) {
		// The sum is made right, so that what is behind it is met too.
		if n := len(buf); n > footerHeadBytes+footerEndBytes {
			buf = append(bytes.Clone(buf[:n-footerEndBytes]), buf[n-footerEndBytes:]...)
			end := appendFooter(nil, footer{idx: newIndex()})
			copy(buf[n-footerEndBytes:], end[len(end)-footerEndBytes:])
			putFooterEnd(buf)
			pos := int64(le64(buf[48:]))
			checkFooter(t, buf, pos)
		}
		checkFooter(t, buf, fileHeaderBytes)
	})
}

// checkFooter parses a footer, and looks up offsets in what it says: they lead into the file.
func checkFooter(t *testing.T, buf []byte, pos int64) {
	if pos < fileHeaderBytes || pos > 1<<40 {
		return
	}
	ft, err := parseFooter(buf, 7, pos)
	if err != nil || ft.idx.end == 0 {
		return
	}
	for _, off := range []uint64{0, ft.idx.end / 2, ft.idx.end - 1} {
		sp, ok := ft.idx.find(off)
		if !ok || sp.off > off || sp.pos < fileHeaderBytes {
			t.Fatalf("offset %d of %d: %+v, %v", off, ft.idx.end, sp, ok)
		}
	}
}

// What the catalogue says is taken over for files that are there; what it does not list is looked into.
func TestCatalogue(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	s, _ := open(t, fault)
	for id := range ID(4) {
		must(t, s.Create(id, 1, Birth(id)))
		must(t, s.Append(id, 1, 0, pattern(uint64(id), 100)))
	}
	for _, id := range []ID{0, 1, 2} {
		must(t, s.Seal(id, 100))
	}
	s.writeCatalogue()
	must(t, s.Failed())
	must(t, s.Drop(0))
	must(t, s.Close())
	n := reads(fault)
	s, report := open(t, fault)
	if report.String() != "extents: 3\n" || !slices.Equal(s.IDs(), []ID{1, 2, 3}) {
		t.Fatalf("%v; %s", s.IDs(), report)
	}
	if *n > 7 { // fences and catalogue, and extent 3: its end, its header, its record's, and that again to be synced
		t.Fatalf("%d reads", *n)
	}
	for id, want := range map[ID]bool{0: false, 1: true, 2: true, 3: false} {
		if h, ok := s.Hint(id); ok != want || ok && (h != Hint{100, Birth(id)}) {
			t.Fatalf("extent %d: %+v, %v", id, h, ok)
		}
	}
	if u := s.Usage(); u.Extents != 3 || u.LogicalBytes != 300 {
		t.Fatalf("%+v", u)
	}
	wantBytes(t, s, 1, pattern(1, 100))
	if _, ok := s.Hint(1); ok {
		t.Fatal("a file that was read is no longer a hint")
	}
	must(t, s.Close())
}

// A damaged catalogue is reported, and everything is there without it.
func TestDamagedCatalogue(t *testing.T) {
	fs := vfs.NewMem()
	dir, data := sealedStore(t, fs)
	s, _ := open(t, fs)
	s.writeCatalogue()
	must(t, s.Close())
	whole := fileOf(t, fs, dir.catalogue())
	for at := range whole {
		flip(t, fs, dir.catalogue(), int64(at))
		s, report := open(t, fs)
		if report.Catalogue == nil || report.Extents != 1 {
			t.Fatalf("byte %d: %s", at, report)
		}
		wantBytes(t, s, 1, data)
		must(t, s.Close())
		flip(t, fs, dir.catalogue(), int64(at))
	}
}

// A catalogue that says other things than the files is a hint and no more: what a file holds is found when it is used.
func TestOutdatedCatalogue(t *testing.T) {
	fs := vfs.NewMem()
	dir, data := sealedStore(t, fs)
	name := dir.extent(1)
	s, _ := open(t, fs)
	s.writeCatalogue()
	must(t, s.Append(1, 1, uint64(len(data)), []byte("more")))
	must(t, s.Create(2, 1, 0xf00d))
	must(t, s.Seal(2, 0))
	must(t, s.Close())
	longer := append(bytes.Clone(data), "more"...)
	s, _ = open(t, fs)
	if h, ok := s.Hint(1); !ok || h.Length != uint64(len(data)) {
		t.Fatalf("%+v, %v", h, ok)
	}
	wantCode(t, s.Append(1, 1, uint64(len(data)), []byte("x")), CodeWrongOffset)
	wantBytes(t, s, 1, longer)
	must(t, s.Close())

	f, err := fs.OpenRW(name) // shorter by hand, at the end of a record
	must(t, err)
	must(t, f.Truncate(fileHeaderBytes+recordHeaderBytes+1))
	must(t, errors.Join(f.Sync(), f.Close()))
	s, _ = open(t, fs)
	_, err = s.ReadAt(1, make([]byte, 2), 0)
	wantCode(t, err, CodeTooShort)
	wantCode(t, s.Seal(1, 2), CodeTooShort)
	must(t, s.Close())

	must(t, fs.Remove(name)) // another extent's file
	must(t, createWith(fs, name, fileOf(t, fs, dir.extent(2))))
	s, _ = open(t, fs)
	_, err = s.ReadAt(1, make([]byte, 2), 0)
	wantCode(t, err, CodeCorrupt)
	must(t, s.Close())

	must(t, fs.Remove(name)) // another birth
	must(t, createWith(fs, name, sealedFile(1, 5)))
	s, _ = open(t, fs)
	wantCode(t, s.CheckBirth(1, 0xcafe), CodeNotFound)
	must(t, s.Close())

	s, _ = open(t, fs) // gone under a running store, before its first use
	must(t, fs.Remove(name))
	_, err = s.ReadAt(1, make([]byte, 2), 0)
	wantCode(t, err, CodeNotFound)
	st, err := s.Stage(1, 2, 0xcafe)
	must(t, err)
	must(t, st.Append([]byte("right")))
	must(t, st.Commit(5, sumOf("right")))
	wantBytes(t, s, 1, []byte("right"))
	must(t, s.Close())
}

// Only so many extents are awake; the others sleep again, and nothing that is known of them is lost.
func TestExtentsSleepAgain(t *testing.T) {
	s, _ := open(t, vfs.NewMem())
	s.maxAwake = 8
	for id := range ID(100) {
		must(t, s.Create(id, 1, 0))
		must(t, s.Append(id, 1, 0, pattern(uint64(id), 100)))
		must(t, s.Seal(id, 100))
	}
	for range 2 {
		for id := range ID(100) {
			wantBytes(t, s, id, pattern(uint64(id), 100))
			wantCode(t, s.Append(id, 1, 100, []byte("x")), CodeSealed)
		}
	}
	s.mu.Lock()
	awake, asleep := len(s.extents), len(s.asleep.naps)
	s.mu.Unlock()
	if awake > 3*8 || awake+asleep != 100 {
		t.Fatalf("%d awake, %d asleep", awake, asleep)
	}
	if u := s.Usage(); u.Extents != 100 || u.LogicalBytes != 10_000 {
		t.Fatalf("%+v", u)
	}
	must(t, s.Close())
}

// A page of a sealed file is lost, wherever it lies: what was on it is refused. Where that was the last record, with
// the mark and the front of the footer, the file is not taken for a shorter one that is sound.
func TestLostPage(t *testing.T) {
	const page = 512
	fs := vfs.NewMem()
	dir, data := sealedStore(t, fs)
	name := dir.extent(1)
	whole := fileOf(t, fs, name)
	for at := 0; at < len(whole); at += 64 {
		file := bytes.Clone(whole)
		clear(file[at:min(at+page, len(file))])
		s, report := open(t, storeOf(t, name, file))
		info, err := s.Stat(1)
		must(t, err)
		got := make([]byte, len(data))
		n, err := s.ReadAt(1, got, 0)
		if !bytes.Equal(got[:n], data[:n]) {
			t.Fatalf("page at %d of %d: other bytes\n%s", at, len(file), report)
		}
		if err != nil && CodeOf(err) != CodeCorrupt && !info.Cut || info.Length < uint64(len(data)) && !info.Cut {
			t.Fatalf("page at %d of %d: %d of %d bytes, %v, %+v\n%s", at, len(file), n, len(data), err, info, report)
		}
		must(t, s.Close())
	}
}

// The scan, which is all that builds before footers know, finds all of a sealed extent, and nothing but the footer
// behind its mark: what such a build puts aside and cuts.
func TestOlderBuildsScanSealedFiles(t *testing.T) {
	fs := vfs.NewMem()
	dir, data := sealedStore(t, fs)
	ft := parsedFooter(t, fs, dir.extent(1))
	f, err := fs.OpenRead(dir.extent(1))
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	for _, mode := range []scanMode{scanQuick, scanAll} {
		got, err := scan(f, fileHeader{}, 1, mode)
		must(t, err)
		if !got.marked || got.idx.end != uint64(len(data)) || len(got.idx.gaps) > 0 ||
			got.idx.endPos != ft.idx.endPos || got.tornBytes != size-ft.idx.endPos {
			t.Fatalf("mode %d: %+v", mode, got)
		}
		if !slices.Equal(got.idx.entries, ft.idx.entries) {
			t.Fatalf("mode %d: the footer has another index than the scan", mode)
		}
	}
}
