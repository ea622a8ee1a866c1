package raftlog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
)

// The log's store keeps its file in memory and believes it: where a page is damaged it panics, some of that in a
// goroutine of its own, or it faults, or it finds less than there was. So a log is walked through before the store
// opens it, with reads that cannot fault. What the store writes is laid out by few rules (little-endian; see
// internal/common of go.etcd.io/bbolt 1.5):
//
//	page    id u64 | flags u16 | count u16 | overflow u32 | elements | their keys and values, without gaps
//	meta    page head | magic u32 | version u32 | page size u32 | flags u32 | root u64, sequence u64 |
//	        free list u64 | high water u64 | transaction u64 | FNV-1a 64 over the fields before
//	branch  position u32 | key length u32 | page u64
//	leaf    flags u32 (1: bucket) | position u32 | key length u32 | value length u32
//	bucket  root page u64, 0 where the page follows in the value | sequence u64
//
// A position counts from its element. Pages 0 and 1 are metas, written in turn.

const (
	pageHeadBytes    = 16
	elementBytes     = 16
	bucketHeadBytes  = 16
	metaBytes        = 64 // that are summed
	metaMagic        = 0xED0CDAED
	metaVersion      = 2
	pageBranch       = 1
	pageLeaf         = 2
	pageMeta         = 4
	leafBucket       = 1
	minPageSize      = 512
	maxPageSize      = 64 << 10
	maxPageDepth     = 64
	maxPageRun       = 1 << 16 // pages in a row
	firstPageOfLeafs = 2
)

// pageFile is a file of pages.
type pageFile struct {
	from     io.ReaderAt
	bytes    int64
	pageSize int64
	root     uint64
	high     uint64 // no page of this number or a higher one is in use
	seen     []bool // pages that are part of something. Invariant: len(seen) == high
}

func pageError(page uint64, format string, args ...any) *CorruptError {
	return &CorruptError{Detail: fmt.Sprintf("page %d: ", page) + fmt.Sprintf(format, args...)}
}

// meta is what a meta page says.
type meta struct {
	pageSize                int64
	root, high, transaction uint64
}

// parseMeta reads the meta page of a number.
func parseMeta(number uint64, b []byte) (m meta, err error) {
	le := binary.LittleEndian
	fields := b[pageHeadBytes : pageHeadBytes+metaBytes]
	h := fnv.New64a()
	_, _ = h.Write(fields[:metaBytes-8])
	switch {
	case le.Uint64(b) != number || le.Uint16(b[8:]) != pageMeta:
		return m, pageError(number, "says it is page %d of kind %#x, want a meta page", le.Uint64(b), le.Uint16(b[8:]))
	case le.Uint32(fields) != metaMagic || le.Uint32(fields[4:]) != metaVersion:
		return m, pageError(number, "starts with %#x, version %d; want %#x, %d", le.Uint32(fields), le.Uint32(fields[4:]),
			metaMagic, metaVersion)
	case le.Uint64(fields[metaBytes-8:]) != h.Sum64():
		return m, pageError(number, "its checksum is %016x, want %016x", le.Uint64(fields[metaBytes-8:]), h.Sum64())
	}
	m = meta{
		pageSize: int64(le.Uint32(fields[8:])), root: le.Uint64(fields[16:]),
		high: le.Uint64(fields[40:]), transaction: le.Uint64(fields[48:]),
	}
	if m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 {
		return m, pageError(number, "says that a page has %d bytes", m.pageSize)
	}
	return m, nil
}

// openPages reads both metas and starts from the newer one. Both must be sound: the store falls back to the
// older one, and with it a transaction is undone that was acknowledged. With one of them damaged, the error comes with
// what the other says.
func openPages(from io.ReaderAt, size int64) (*pageFile, error) {
	zero, zeroErr := readMeta(from, 0, 0)
	pageSize := zero.pageSize
	if zeroErr != nil {
		pageSize = int64(os.Getpagesize())
	}
	one, oneErr := readMeta(from, 1, pageSize)
	m := zero
	if zeroErr != nil || oneErr == nil && one.transaction > zero.transaction {
		m = one
	}
	switch {
	case zeroErr != nil && oneErr != nil:
		return nil, zeroErr
	case zeroErr == nil && oneErr == nil && zero.pageSize != one.pageSize:
		return nil, pageError(1, "says that a page has %d bytes, and page 0 says %d", one.pageSize, zero.pageSize)
	case m.high < firstPageOfLeafs:
		return nil, corrupt("it has %d pages, want %d at least", m.high, firstPageOfLeafs)
	}
	f := &pageFile{from: from, bytes: size, pageSize: m.pageSize, root: m.root, high: m.high}
	damage := cmp.Or(zeroErr, oneErr)
	if int64(m.high) > size/m.pageSize {
		f.high = uint64(size / m.pageSize)
		damage = corrupt("it has %d bytes and should have %d pages of %d bytes: it was cut short", size, m.high, m.pageSize)
	}
	f.seen = make([]bool, f.high)
	return f, damage
}

// readMeta reads the meta page of a number.
func readMeta(from io.ReaderAt, number uint64, pageSize int64) (meta, error) {
	buf := make([]byte, pageHeadBytes+metaBytes)
	if _, err := from.ReadAt(buf, int64(number)*pageSize); err != nil {
		return meta{}, pageError(number, "%s", err.Error())
	}
	return parseMeta(number, buf)
}

// page reads a page with all that belongs to it, and notes that it was seen.
func (f *pageFile) page(id uint64) ([]byte, error) {
	all, err := f.read(id, nil)
	if err != nil {
		return nil, err
	}
	for i := id; i < id+uint64(len(all))/uint64(f.pageSize); i++ {
		if f.seen[i] {
			return nil, pageError(i, "is part of two things")
		}
		f.seen[i] = true
	}
	return all, nil
}

// used is how many bytes the pages have that were seen, with the two metas.
func (f *pageFile) used() int64 {
	n := int64(firstPageOfLeafs)
	for _, seen := range f.seen {
		if seen {
			n++
		}
	}
	return n * f.pageSize
}

// read reads a page with all that belongs to it, into buf as far as that has room.
func (f *pageFile) read(id uint64, buf []byte) ([]byte, error) {
	if id < firstPageOfLeafs || id >= f.high {
		return nil, pageError(id, "is referred to, and there are those from %d to %d", firstPageOfLeafs, f.high)
	}
	all := slices.Grow(buf[:0], int(f.pageSize))[:f.pageSize]
	if _, err := f.from.ReadAt(all, int64(id)*f.pageSize); err != nil {
		return nil, pageError(id, "%s", err.Error())
	}
	more := uint64(binary.LittleEndian.Uint32(all[12:]))
	if got := binary.LittleEndian.Uint64(all); got != id {
		return nil, pageError(id, "says it is page %d", got)
	}
	if more >= maxPageRun || id+more >= f.high {
		return nil, pageError(id, "goes on for %d pages, and the last is %d", more, f.high-1)
	}
	if more == 0 {
		return all, nil
	}
	all = slices.Grow(all, int(more)*int(f.pageSize))[:int64(more+1)*f.pageSize]
	if _, err := f.from.ReadAt(all[f.pageSize:], int64(id)*f.pageSize+f.pageSize); err != nil {
		return nil, pageError(id, "%s", err.Error())
	}
	return all, nil
}

// element is one of a page's: of a leaf with a value, of a branch with a page.
type element struct {
	key, value []byte
	bucket     bool
	page       uint64
}

// elements are those of a page, by rising key. id is for messages.
func elements(id uint64, page []byte) (leaf bool, all []element, err error) {
	return elementsInto(nil, id, page)
}

// elementsInto is elements, into all as far as that has room.
func elementsInto(all []element, id uint64, page []byte) (leaf bool, _ []element, err error) {
	le := binary.LittleEndian
	flags, count := le.Uint16(page[8:]), int(le.Uint16(page[10:]))
	if flags != pageBranch && flags != pageLeaf {
		return false, nil, pageError(id, "is of kind %#x, want a branch or a leaf", flags)
	}
	leaf = flags == pageLeaf
	next := pageHeadBytes + count*elementBytes // where the next key begins
	if next > len(page) || !leaf && count == 0 {
		return false, nil, pageError(id, "counts %d elements", count)
	}
	all = slices.Grow(all[:0], count)[:count]
	for i := range all {
		at := pageHeadBytes + i*elementBytes
		raw := page[at : at+elementBytes]
		var e element
		position, keyBytes, valueBytes := uint64(le.Uint32(raw)), uint64(le.Uint32(raw[4:])), uint64(0)
		if leaf {
			position, keyBytes, valueBytes = uint64(le.Uint32(raw[4:])), uint64(le.Uint32(raw[8:])), uint64(le.Uint32(raw[12:]))
			e.bucket = le.Uint32(raw) == leafBucket
		} else {
			e.page = le.Uint64(raw[8:])
		}
		end := uint64(next) + keyBytes + valueBytes
		if uint64(at)+position != uint64(next) || keyBytes == 0 || end > uint64(len(page)) || leaf &&
			le.Uint32(raw)&^leafBucket != 0 {
			return false, nil, pageError(id, "element %d of %d is not where it should be", i, count)
		}
		e.key, e.value = page[next:uint64(next)+keyBytes], page[uint64(next)+keyBytes:end]
		if i > 0 && bytes.Compare(all[i-1].key, e.key) >= 0 {
			return false, nil, pageError(id, "element %d of %d is out of order", i, count)
		}
		all[i], next = e, int(end)
	}
	// An empty leaf is legal, and one flipped bit of the count away from a leaf of one, two or four elements.
	if count == 0 && len(bytes.Trim(page[pageHeadBytes:], "\x00")) > 0 {
		return false, nil, pageError(id, "counts no elements, and has some")
	}
	return leaf, all, nil
}

// walk hands every key and value under a page to visit, in order. All keys are at least low and, unless high is nil,
// below high.
func (f *pageFile) walk(id uint64, depth int, low, high []byte, visit func(element) error) error {
	if depth > maxPageDepth {
		return pageError(id, "lies deeper than %d pages", maxPageDepth)
	}
	page, err := f.page(id)
	if err != nil {
		return err
	}
	leaf, all, err := elements(id, page)
	if err != nil {
		return err
	}
	for i, e := range all {
		if bytes.Compare(e.key, low) < 0 || high != nil && bytes.Compare(e.key, high) >= 0 {
			return pageError(id, "element %d of %d belongs to another page", i, len(all))
		}
		if leaf {
			err = visit(e)
		} else {
			end := high
			if i+1 < len(all) {
				end = all[i+1].key
			}
			err = f.walk(e.page, depth+1, e.key, end, visit)
		}
		if err != nil {
			return withPage(id, err)
		}
	}
	return nil
}

// withPage names the page that a record was on.
func withPage(id uint64, err error) error {
	if bad, ok := err.(*CorruptError); ok && bad.Index != 0 && bad.File == "" { //nolint:errorlint // it is made right here
		return &CorruptError{Index: bad.Index, File: fmt.Sprintf("page %d", id), Detail: bad.Detail}
	}
	return err
}

// walkBucket hands every key and value of a bucket to visit. value is what its parent says of it.
func (f *pageFile) walkBucket(value []byte, visit func(element) error) error {
	if len(value) < bucketHeadBytes {
		return corrupt("a bucket of %d bytes", len(value))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return f.walk(root, 0, nil, nil, visit)
	}
	page := value[bucketHeadBytes:]
	if len(page) < pageHeadBytes {
		return corrupt("a bucket within a page has %d bytes", len(page))
	}
	leaf, all, err := elements(0, page)
	if err == nil && (!leaf || binary.LittleEndian.Uint64(page) != 0 || binary.LittleEndian.Uint32(page[12:]) != 0) {
		err = corrupt("a bucket within a page is no leaf of its own")
	}
	for _, e := range all {
		if err == nil {
			err = visit(e)
		}
	}
	return err
}
