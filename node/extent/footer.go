package extent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/datanode/datanode/node/internal/vfs"
)

const (
	footerMagic    uint32 = 0x46454e44 // "DNEF"
	footerEndMagic uint32 = 0x5a454e44 // "DNEZ"
	footerVersion  uint32 = 1
	footerStubs    uint32 = 2 // of a file that has stubs

	footerHeadBytes = 68
	footerEndBytes  = 16

	// maxFooterBytes is the longest footer that is written or believed: one for 600 GiB of small records. An extent
	// whose footer would be longer has none, and is scanned.
	maxFooterBytes = 64 << 20

	// footerWindowBytes is what is read of the end of a file at first; it holds most footers, and the whole of a small
	// file.
	footerWindowBytes = 4 << 10
)

// Flags of a footer. A reader ignores those that it does not know.
const footerSummed uint32 = 1 // the sum is known

// Kinds of a footer's sections. A reader ignores an even kind that it does not know, and does not use a footer with an
// odd one.
const (
	sectionIndex   uint32 = 1 // the index, see appendIndex
	sectionPunched uint32 = 3 // what has been punched, see appendRanges; only where something has been
	sectionStubs   uint32 = 5 // how many bytes of the extent stubs stand for, a varint; only in a footer of version 2
)

// footer ends the file of a sealed extent, behind the mark: what a scan of the file would find. See
// docs/extent-format.md for its layout.
type footer struct {
	header fileHeader // as at the front of the file
	acked  uint64     // how much is known to be acknowledged. Invariant: <= idx.end
	summed bool
	sum    uint32 // CRC32C of all bytes; 0 unless summed
	idx    index  // Invariant: no gaps

	punched   []Range // see Store.Punch
	stubBytes uint64  // that stubs stand for. Invariant: 0 unless header.stubs
}

func (h fileHeader) footerVersion() uint32 {
	if h.stubs {
		return footerStubs
	}
	return footerVersion
}

// appendFooter appends the encoding of ft, which goes at ft.idx.endPos in the file, to buf.
func appendFooter(buf []byte, ft footer) []byte {
	start := len(buf)
	le := binary.LittleEndian
	flags := uint32(0)
	if ft.summed {
		flags |= footerSummed
	}
	index := appendIndex(nil, ft.idx.entries)
	buf = le.AppendUint32(buf, footerMagic)
	buf = le.AppendUint32(buf, ft.header.footerVersion())
	buf = le.AppendUint64(buf, uint64(ft.header.id))
	buf = le.AppendUint64(buf, uint64(ft.header.fence))
	buf = le.AppendUint32(buf, uint32(ft.header.birth))
	buf = le.AppendUint32(buf, flags)
	buf = le.AppendUint64(buf, ft.idx.end)
	buf = le.AppendUint64(buf, ft.acked)
	buf = le.AppendUint64(buf, uint64(ft.idx.endPos))
	buf = le.AppendUint32(buf, ft.sum)
	sections := uint32(1)
	if len(ft.punched) > 0 {
		sections++
	}
	if ft.header.stubs {
		sections++
	}
	buf = le.AppendUint32(buf, sections)
	buf = le.AppendUint32(buf, 0) // reserved
	buf = le.AppendUint32(buf, sectionIndex)
	buf = le.AppendUint32(buf, uint32(len(index)))
	buf = append(buf, index...)
	if len(ft.punched) > 0 {
		punched := appendRanges(nil, ft.punched)
		buf = le.AppendUint32(buf, sectionPunched)
		buf = le.AppendUint32(buf, uint32(len(punched)))
		buf = append(buf, punched...)
	}
	if ft.header.stubs {
		stubs := binary.AppendUvarint(nil, ft.stubBytes)
		buf = le.AppendUint32(buf, sectionStubs)
		buf = le.AppendUint32(buf, uint32(len(stubs)))
		buf = append(buf, stubs...)
	}
	buf = le.AppendUint32(buf, uint32(len(buf)-start+footerEndBytes))
	buf = le.AppendUint32(buf, ft.header.footerVersion())
	buf = le.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
	return le.AppendUint32(buf, footerEndMagic)
}

// footerLength is how long the footer is that ends with end, the last footerEndBytes of a file of size bytes.
func footerLength(end []byte, size int64) (int64, error) {
	le := binary.LittleEndian
	if len(end) < footerEndBytes {
		return 0, fmt.Errorf("a file of %d bytes has no footer", size)
	}
	if m := le.Uint32(end[12:]); m != footerEndMagic {
		return 0, fmt.Errorf("the file ends with %#x, with a footer it would with %#x", m, footerEndMagic)
	}
	if v := le.Uint32(end[4:]); v != footerVersion && v != footerStubs {
		return 0, fmt.Errorf("the footer has version %d, this program reads %d and %d", v, footerVersion, footerStubs)
	}
	n := int64(le.Uint32(end))
	if n < footerHeadBytes+footerEndBytes || n > min(size-fileHeaderBytes, maxFooterBytes) {
		return 0, fmt.Errorf("the footer says it has %d bytes, of a file of %d", n, size)
	}
	return n, nil
}

// parseFooter verifies buf, the whole of a footer of extent id that begins at pos in its file.
func parseFooter(buf []byte, id ID, pos int64) (ft footer, err error) {
	n, err := footerLength(buf[max(len(buf)-footerEndBytes, 0):], pos+int64(len(buf)))
	if err != nil {
		return ft, err
	}
	if n != int64(len(buf)) {
		return ft, fmt.Errorf("the footer has %d bytes, says %d", len(buf), n)
	}
	le := binary.LittleEndian
	if got, want := crc32.Checksum(buf[:n-8], castagnoli), le.Uint32(buf[n-8:]); got != want {
		return ft, fmt.Errorf("the footer has checksum %#x, says %#x", got, want)
	}
	if m, v := le.Uint32(buf), le.Uint32(buf[4:]); m != footerMagic || v != le.Uint32(buf[n-12:]) {
		return ft, fmt.Errorf("the footer begins with %#x and version %d", m, v)
	}
	ft.header = fileHeader{
		id: ID(le.Uint64(buf[8:])), fence: Fence(le.Uint64(buf[16:])), birth: Birth(le.Uint32(buf[24:])),
		stubs: le.Uint32(buf[4:]) == footerStubs,
	}
	ft.summed = le.Uint32(buf[28:])&footerSummed != 0
	ft.idx.end, ft.acked, ft.idx.endPos = le.Uint64(buf[32:]), le.Uint64(buf[40:]), int64(le.Uint64(buf[48:]))
	ft.sum = le.Uint32(buf[56:])
	most := uint64(max(pos-fileHeaderBytes, 0)) // bytes of the extent in the file
	if ft.header.stubs {
		most = most / recordHeaderBytes * MaxRecordBytes
	}
	switch {
	case ft.header.id != id:
		return ft, fmt.Errorf("the footer is of extent %d, the file's name says %d", ft.header.id, id)
	case ft.idx.endPos != pos || ft.acked > ft.idx.end || ft.idx.end > most:
		return ft, fmt.Errorf("the footer at %d cannot be: length %d, acknowledged %d, records end at %d",
			pos, ft.idx.end, ft.acked, ft.idx.endPos)
	}
	return ft, ft.sections(buf[60:n-footerEndBytes], le.Uint32(buf[60:]))
}

// sections reads the sections of a footer: buf begins with their number.
func (ft *footer) sections(buf []byte, count uint32) error {
	le := binary.LittleEndian
	buf, indexed := buf[8:], false
	for range count {
		if len(buf) < 8 || uint64(le.Uint32(buf[4:])) > uint64(len(buf)-8) {
			return fmt.Errorf("a section of the footer reaches over its end")
		}
		kind, body := le.Uint32(buf), buf[8:8+le.Uint32(buf[4:])]
		buf = buf[8+len(body):]
		switch {
		case kind == sectionIndex && !indexed:
			var err error
			if ft.idx.entries, err = parseIndex(body, ft.idx.end, ft.idx.endPos); err != nil {
				return err
			}
			indexed = true
		case kind == sectionPunched && ft.punched == nil:
			var err error
			if ft.punched, err = parseRanges(body, ft.idx.end); err != nil {
				return err
			}
		case kind == sectionStubs && ft.header.stubs:
			in := uvarints{buf: body}
			if ft.stubBytes = in.next(); in.short || len(in.buf) > 0 || ft.stubBytes > ft.idx.end {
				return fmt.Errorf("stubs for %d bytes of %d, in %d bytes", ft.stubBytes, ft.idx.end, len(body))
			}
		case kind%2 != 0:
			return fmt.Errorf("the footer has a section of kind %d, which this program cannot do without knowing", kind)
		}
	}
	if !indexed || len(buf) > 0 {
		return fmt.Errorf("the footer has %d bytes after its %d sections, and an index: %v", len(buf), count, indexed)
	}
	return nil
}

// appendIndex appends entries: their number, and of each how much further it begins than the one before, in the extent
// and in the file, and the length of its records; all as varints.
func appendIndex(buf []byte, entries []indexEntry) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(entries)))
	var last indexEntry
	for _, e := range entries {
		buf = binary.AppendUvarint(buf, e.off-last.off)
		buf = binary.AppendUvarint(buf, uint64(e.pos-last.pos))
		buf = binary.AppendUvarint(buf, uint64(e.each))
		last = e
	}
	return buf
}

// parseIndex reads entries that lie in an extent of end bytes, whose records end at endPos in the file. What find
// relies on is checked.
func parseIndex(buf []byte, end uint64, endPos int64) ([]indexEntry, error) {
	in := uvarints{buf: buf}
	count := in.next()
	if count > uint64(len(in.buf)/3) || (count == 0) != (end == 0) {
		return nil, fmt.Errorf("%d index entries in %d bytes, for a length of %d", count, len(in.buf), end)
	}
	entries := make([]indexEntry, 0, count)
	var last indexEntry
	for i := range count {
		off, pos, each := last.off+in.next(), last.pos+int64(in.next()), in.next()
		ok := off >= last.off && pos > last.pos && off < end && pos <= endPos-recordHeaderBytes && each <= MaxRecordBytes
		if i == 0 {
			ok = ok && off == 0 && pos >= fileHeaderBytes
		} else {
			ok = ok && off > last.off
		}
		if in.short || !ok {
			return nil, fmt.Errorf("index entry %d cannot be: offset %d, position %d, each %d", i, off, pos, each)
		}
		last = indexEntry{off: off, pos: pos, each: uint32(each)}
		entries = append(entries, last)
	}
	if len(in.buf) > 0 {
		return nil, fmt.Errorf("%d bytes after the index", len(in.buf))
	}
	return entries, nil
}

// footerError says that a file has no footer that can be believed. The extent is read without it.
type footerError struct{ err error }

func (e *footerError) Error() string { return e.err.Error() }
func (e *footerError) Unwrap() error { return e.err }

// readFooter reads and verifies the footer of an extent's file. A *footerError says that there is none, or that it is
// damaged; any other error is a failure to read.
func readFooter(file vfs.File, id ID) (footer, int64, error) {
	size, err := file.Size()
	if err != nil {
		return footer{}, 0, err
	}
	buf := make([]byte, min(size, footerWindowBytes))
	if err := readFull(file, buf, size-int64(len(buf))); err != nil {
		return footer{}, size, err
	}
	n, err := footerLength(buf[max(len(buf)-footerEndBytes, 0):], size)
	if err != nil {
		return footer{}, size, &footerError{err}
	}
	if n > int64(len(buf)) {
		buf = make([]byte, n)
		if err := readFull(file, buf, size-n); err != nil {
			return footer{}, size, err
		}
	}
	ft, err := parseFooter(buf[int64(len(buf))-n:], id, size-n)
	if err != nil {
		return footer{}, size, &footerError{err}
	}
	return ft, size, nil
}

// readFull fills p with what is at pos in a file.
func readFull(file vfs.File, p []byte, pos int64) error {
	if n, err := file.ReadAt(p, pos); n < len(p) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes at %d, got %d: %w", len(p), pos, n, err)
	}
	return nil
}

// wasFooter reports whether what follows the records at pos is what is left of a footer: rot, or a crash while it was
// written, has spared one of its two ends.
func wasFooter(file vfs.File, pos, size int64) (bool, error) {
	le := binary.LittleEndian
	if size-pos < 4 {
		return false, nil
	}
	var word [4]byte
	if err := readFull(file, word[:], pos); err != nil {
		return false, err
	}
	if le.Uint32(word[:]) == footerMagic {
		return true, nil
	}
	if err := readFull(file, word[:], size-4); err != nil {
		return false, err
	}
	return le.Uint32(word[:]) == footerEndMagic, nil
}
