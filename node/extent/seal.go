package extent

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/datanode/datanode/node/internal/vfs"
)

// Seal cuts an extent to length and refuses appends from then on. Sealed at that length already, it
// does nothing; length must not be above the durable length (CodeTooShort), nor below what is known to be
// acknowledged (CodeBelowFloor), nor another than it was sealed at (CodeSealed). After Open the extent is
// open again until Seal is called again: what is sealed is for the operation log to say.
func (s *Store) Seal(id ID, length uint64) error {
	const op = "seal"
	e, err := s.change(op, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	st := e.snapshot()
	switch {
	case !st.present:
		return errNotFound(op, id)
	case st.broken != nil:
		return errCorrupt(op, id, 0, st.broken)
	case length > st.idx.end:
		return errTooShort(op, id, length, st.idx.end)
	case length < st.acked:
		return &Error{Op: op, Code: CodeBelowFloor, ID: id, Want: st.acked, Have: length,
			Detail: fmt.Sprintf("at %d bytes, but %d are known to be acknowledged", length, st.acked)}
	case st.sealed && length < st.idx.end:
		return &Error{Op: op, Code: CodeSealed, ID: id, Want: st.idx.end, Have: length,
			Detail: fmt.Sprintf("at length %d, asked for %d", st.idx.end, length)}
	case st.sealed:
		return nil
	case length < st.idx.end:
		err = s.cut(op, e, length)
	case !st.marked || st.loose:
		err = s.mark(op, e, &st)
	}
	if err == nil && st.cut {
		err = s.forgetTail(op, id)
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sealed, e.cut, e.loose = true, false, false
	return nil
}

// mark ends the file with a mark, so that from now on rot anywhere in it is told from a torn tail.
func (s *Store) mark(op string, e *extent, st *state) error {
	pos, length := st.idx.endPos, st.idx.end
	h, err := s.files.acquire(s.dir.extent(e.id), false)
	if err != nil {
		return errOpen(op, e.id, err)
	}
	defer s.files.release(h)
	if st.loose {
		if err := h.file.Truncate(pos); err != nil {
			return s.failure(op, e.id, distrust(err))
		}
	}
	// A seal that found no room would make a healthy replica suspect.
	err = within(s.room, func() error { return writeMark(h.file, e.id, pos, length) })
	if err == nil {
		err = syncFile(h.file)
	}
	if err != nil {
		return s.failure(op, e.id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idx.add(length, 0, pos)
	e.marked, e.fileBytes = true, e.idx.endPos
	return nil
}

// cutIntent is what a cut will do to an extent file: put tail at pos and end the file behind it. tail
// is the shortened record, if the cut is inside one, and a mark. It is durable in a file of its own
// before the extent file is touched, and Open does it again if it finds it: overwriting a record in
// place could lose acknowledged bytes in a crash, and copying the whole file was rejected because
// extents are large. After it the file is as if it had been written so.
//
//	 0        4         8              16             24         28        32
//	+--------+---------+--------------+--------------+----------+---------+------+
//	| magic  | tail    | extent ID    | pos          | zero     | CRC32C  | tail |
//	| "DNEC" | length  |              |              | reserved | of rest |      |
//	+--------+---------+--------------+--------------+----------+---------+------+
type cutIntent struct {
	id   ID
	pos  int64
	tail []byte
}

const (
	cutMagic       = uint32(0x43454e44) // "DNEC"
	cutHeaderBytes = 32
)

func appendCutIntent(buf []byte, c cutIntent) []byte {
	start := len(buf)
	le := binary.LittleEndian
	buf = le.AppendUint32(buf, cutMagic)
	buf = le.AppendUint32(buf, uint32(len(c.tail)))
	buf = le.AppendUint64(buf, uint64(c.id))
	buf = le.AppendUint64(buf, uint64(c.pos))
	buf = le.AppendUint32(buf, 0)
	sum := crc32.Update(crc32.Checksum(buf[start:], castagnoli), castagnoli, c.tail)
	return append(le.AppendUint32(buf, sum), c.tail...)
}

func parseCutIntent(buf []byte) (rest []byte, c cutIntent, err error) {
	if len(buf) < cutHeaderBytes {
		return buf, c, fmt.Errorf("cut intent has %d bytes, want at least %d", len(buf), cutHeaderBytes)
	}
	le := binary.LittleEndian
	if m := le.Uint32(buf); m != cutMagic {
		return buf, c, fmt.Errorf("cut intent begins with %#x, want %#x", m, cutMagic)
	}
	n := uint64(le.Uint32(buf[4:]))
	if have := uint64(len(buf) - cutHeaderBytes); n > have {
		return buf, c, fmt.Errorf("cut intent has a tail of %d bytes, says %d", have, n)
	}
	tail := buf[cutHeaderBytes : cutHeaderBytes+n : cutHeaderBytes+n]
	got, want := crc32.Update(crc32.Checksum(buf[:28], castagnoli), castagnoli, tail), le.Uint32(buf[28:])
	if got != want {
		return buf, c, fmt.Errorf("cut intent has checksum %#x, says %#x", got, want)
	}
	c = cutIntent{id: ID(le.Uint64(buf[8:])), pos: int64(le.Uint64(buf[16:])), tail: tail}
	if c.pos < fileHeaderBytes {
		return buf, c, fmt.Errorf("cut intent for position %d, in the file header", c.pos)
	}
	return buf[cutHeaderBytes+n:], c, nil
}

// redo carries the intent out. It may be done any number of times.
func (c cutIntent) redo(f vfs.File) error {
	if _, err := f.WriteAt(c.tail, c.pos); err != nil {
		return distrust(err)
	}
	if err := f.Truncate(c.pos + int64(len(c.tail))); err != nil {
		return distrust(err)
	}
	return syncFile(f)
}

// cut shortens an extent's file. It waits for readers first.
func (s *Store) cut(op string, e *extent, length uint64) error {
	e.use.Lock()
	defer e.use.Unlock()
	h, err := s.files.acquire(s.dir.extent(e.id), false)
	if err != nil {
		return errOpen(op, e.id, err)
	}
	defer s.files.release(h)
	r := reader{s: s, file: h.file, id: e.id, find: e.find}
	last, pos, bad := r.before(op, length)
	if bad != nil {
		return bad
	}
	c := cutIntent{id: e.id, pos: pos}
	if len(last.Payload) > 0 {
		c.tail = AppendRecord(nil, e.id, last)
	}
	c.tail = AppendRecord(c.tail, e.id, Record{Offset: length, Floor: length})
	if err := s.carryOut(c, h.file); err != nil {
		return s.failure(op, e.id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idx.cut(last.Offset, pos)
	if n := len(last.Payload); n > 0 {
		e.idx.add(last.Offset, uint32(n), pos)
	}
	e.idx.add(length, 0, e.idx.endPos)
	e.marked, e.fileBytes = true, e.idx.endPos
	e.generation++
	return nil
}

// carryOut makes the intent durable, does it, and takes it away again.
func (s *Store) carryOut(c cutIntent, f vfs.File) error {
	name := s.dir.cut(c.id)
	err := within(s.room, func() error { return createWith(s.fs, name, appendCutIntent(nil, c)) })
	if err != nil {
		return err
	}
	if err := syncDir(s.fs, s.dir.staging()); err != nil {
		return err
	}
	if err := c.redo(f); err != nil {
		return err
	}
	// Gone for good before anything else can be done to the extent, or Open would do it again later.
	if err := s.fs.Remove(name); err != nil {
		return distrust(err)
	}
	return syncDir(s.fs, s.dir.staging())
}

// before returns the part before offset end of the record that holds end, and where that record is.
// The part is empty if the record begins there.
func (r *reader) before(op string, end uint64) (Record, int64, *Error) {
	sp, ok := r.find(end)
	if !ok && sp.off == end {
		return Record{Offset: end}, sp.pos, nil // damage begins there: it is cut off
	}
	if !ok {
		return Record{}, 0, errCorrupt(op, r.id, sp.off, fmt.Errorf("no valid record is there"))
	}
	buf := make([]byte, readWindowBytes)
	for sp.pos < sp.limit {
		window, err := r.fill(buf, sp, end+1)
		var h recordHeader
		if err == nil {
			h, err = parseRecordHeader(window, r.id)
		}
		if err == nil && h.end() <= end {
			sp.off, sp.pos = h.end(), sp.pos+h.fileBytes()
			continue
		}
		var rec Record
		if err == nil {
			_, rec, err = ParseRecord(window, r.id)
		}
		if err != nil {
			return Record{}, 0, errCorrupt(op, r.id, sp.off, err)
		}
		rec.Payload = rec.Payload[:end-rec.Offset]
		return rec, sp.pos, nil
	}
	return Record{}, 0, errCorrupt(op, r.id, sp.off, fmt.Errorf("records end before %d", end))
}
