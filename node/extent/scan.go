package extent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/node/internal/vfs"
)

const (
	scanWindowBytes   = 4 << 10   // read for each header; holds many records if they are small
	resyncWindowBytes = 256 << 10 // read at a time when looking for the next valid record
)

// scanned is what a file was found to hold.
type scanned struct {
	idx       index
	floor     uint64 // the highest in any record header
	acked     uint64 // the highest in the header of a record with a payload: see the package comment
	floorPos  int64  // where the first record is in the file that was written under that floor
	marked    bool   // the last valid record is a mark, so that a shorter floor than end is none
	tornBytes int64  // in the file after idx.endPos
	stubs     []Range
}

// scanMode says how much to trust.
type scanMode uint8

const (
	scanQuick   scanMode = 1 // payloads from the floor on; those before were synced
	scanAll     scanMode = 2 // all payloads
	scanStaging scanMode = 3 // all payloads, and everything after the first bad one is dropped
)

type scanner struct {
	file   vfs.File
	id     ID
	stubs  bool // the file may have some
	size   int64
	window []byte // part of the file at windowPos
	winPos int64
	markAt int64 // where the file ends with the last mark
}

// scan reads an extent's file, whose header is h, from its first record on. err is a failure to read.
func scan(file vfs.File, h fileHeader, id ID, mode scanMode) (scanned, error) {
	size, err := file.Size()
	if err != nil {
		return scanned{}, err
	}
	s := &scanner{file: file, id: id, stubs: h.stubs, size: size}
	out := scanned{idx: newIndex()}
	if err := s.headers(&out); err != nil {
		return scanned{}, err
	}
	if mode == scanStaging {
		out.floor = 0
	}
	for _, g := range out.idx.gaps {
		if g.from >= out.floor {
			out.idx.cut(g.from, g.pos)
			break
		}
	}
	if err := s.payloads(&out, mode); err != nil {
		return scanned{}, err
	}
	out.marked = s.markAt == out.idx.endPos
	out.tornBytes = size - out.idx.endPos
	return out, nil
}

// peek returns n bytes at pos, fewer at the end of the file.
func (s *scanner) peek(pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), s.size-pos))
	if pos < s.winPos || pos+int64(n) > s.winPos+int64(len(s.window)) {
		if err := s.load(pos, max(n, scanWindowBytes)); err != nil {
			return nil, err
		}
	}
	at := int(pos - s.winPos)
	return s.window[at : at+n], nil
}

// ahead returns what the window holds from pos on, and fills it again only when that is next to
// nothing: bytes that imitate records must not make the search read every window many times.
func (s *scanner) ahead(pos int64) ([]byte, error) {
	end := s.winPos + int64(len(s.window))
	if pos < s.winPos || pos+recordHeaderBytes > end {
		if err := s.load(pos, resyncWindowBytes); err != nil {
			return nil, err
		}
	}
	return s.window[pos-s.winPos:], nil
}

func (s *scanner) load(pos int64, n int) error {
	n = int(min(int64(n), s.size-pos))
	if cap(s.window) < n {
		s.window = make([]byte, n)
	}
	s.window, s.winPos = s.window[:n], pos
	if got, err := s.file.ReadAt(s.window, pos); got < n {
		s.window = s.window[:0]
		return fmt.Errorf("read %d bytes at %d, got %d: %w", n, pos, got, err)
	}
	return nil
}

// header parses what begins with buf: a record, or a stub where the file may have some.
func (s *scanner) header(buf []byte) (recordHeader, error) {
	if s.stubs {
		return parsePieceHeader(buf, s.id)
	}
	return parseRecordHeader(buf, s.id)
}

// headers walks the record headers and notes every record and every gap between valid ones.
func (s *scanner) headers(out *scanned) error {
	x := &out.idx
	for x.endPos+recordHeaderBytes <= s.size {
		pos := x.endPos
		buf, err := s.peek(pos, recordHeaderBytes)
		if err != nil {
			return err
		}
		h, bad := s.header(buf)
		if bad != nil || h.offset != x.end || pos+h.fileBytes() > s.size {
			var found bool
			h, pos, found, err = s.resync(x.end, pos)
			if err != nil || !found {
				return err
			}
			x.addGap(h.offset, pos)
		}
		x.note(h, pos)
		if h.stub {
			out.stubs = append(out.stubs, Range{h.offset, h.end()})
		}
		if h.floor > out.floor || out.floorPos == 0 {
			out.floor, out.floorPos = h.floor, pos
		}
		if h.length == 0 {
			s.markAt = x.endPos
		} else {
			out.acked = max(out.acked, h.floor)
		}
	}
	return nil
}

// resync looks for the next valid header after pos, where the record for offset off should be. What
// lies between must be as long as some lost records.
func (s *scanner) resync(off uint64, pos int64) (h recordHeader, at int64, found bool, err error) {
	magic := binary.LittleEndian.AppendUint32(nil, recordMagic)
	if s.stubs {
		magic = magic[:3] // which both have
	}
	for at = pos + 1; at+recordHeaderBytes <= s.size; {
		buf, err := s.ahead(at)
		if err != nil {
			return h, 0, false, err
		}
		i := bytes.Index(buf, magic)
		if i < 0 {
			at += int64(len(buf) - len(magic) + 1)
			continue
		}
		at += int64(i)
		if buf, err = s.peek(at, recordHeaderBytes); err != nil {
			return h, 0, false, err
		}
		h, bad := s.header(buf)
		if bad == nil && at+h.fileBytes() <= s.size && s.plausibleGap(off, h.offset, at-pos) {
			return h, at, true, nil
		}
		at++
	}
	return h, 0, false, nil
}

// plausibleGap reports whether fileBytes of the file can have held the extent's bytes [from, to).
func (s *scanner) plausibleGap(from, to uint64, fileBytes int64) bool {
	if s.stubs && to >= from {
		return to-from <= uint64(fileBytes/recordHeaderBytes)*MaxRecordBytes
	}
	if to < from || to-from >= uint64(fileBytes) {
		return false
	}
	lost := int64(to - from)
	if lost == 0 {
		return fileBytes == recordHeaderBytes // a mark
	}
	headers := fileBytes - lost
	return headers%recordHeaderBytes == 0 && lost <= headers/recordHeaderBytes*MaxRecordBytes
}

// payloads verifies payloads as mode says. A bad one below the floor becomes a gap; one at or above
// it ends the extent there.
func (s *scanner) payloads(out *scanned, mode scanMode) error {
	from := out.floor
	if mode != scanQuick {
		from = 0
	}
	end := out.idx.end
	for from < end {
		sp, ok := out.idx.find(from)
		if !ok {
			from = out.idx.gapEnd(from)
			continue
		}
		at, bad, err := s.verify(sp, from, end)
		if err != nil {
			return err
		}
		if bad != nil && bad.offset >= out.floor {
			out.idx.cut(bad.offset, at.pos)
			return nil
		}
		from = at.off
		if bad != nil {
			out.idx.insertGap(gap{from: bad.offset, to: bad.end(), pos: at.pos, posEnd: at.pos + bad.fileBytes()})
			from = bad.end()
		}
	}
	return nil
}

// verify reads the records of a span, as far as they hold bytes in [from, end). It returns where it
// ended, and the header of the record whose payload was bad, if one was. The headers are known to be
// good.
func (s *scanner) verify(sp span, from, end uint64) (span, *recordHeader, error) {
	for sp.pos < sp.limit && sp.off < end {
		buf, err := s.peek(sp.pos, recordHeaderBytes)
		if err != nil {
			return sp, nil, err
		}
		h, err := s.header(buf)
		if err != nil {
			return sp, nil, err
		}
		if h.end() > from && !h.stub {
			if buf, err = s.peek(sp.pos, int(h.fileBytes())); err != nil {
				return sp, nil, err
			}
			if _, _, err := ParseRecord(buf, s.id); err != nil {
				return sp, &h, nil
			}
		}
		sp.off, sp.pos = h.end(), sp.pos+h.fileBytes()
	}
	return sp, nil, nil
}

// readFileHeader reads and checks the header of an extent's file.
func readFileHeader(file vfs.File, id ID) (fileHeader, error) {
	buf := make([]byte, fileHeaderBytes)
	n, err := file.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fileHeader{}, err
	}
	_, h, err := parseFileHeader(buf[:n])
	if err == nil && h.id != id {
		err = fmt.Errorf("file holds extent %d, its name says %d", h.id, id)
	}
	return h, err
}
