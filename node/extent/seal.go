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
func (s *Store) Seal(id ID, length uint64) error { return s.seal("seal", id, length, nil) }

// SealSum is Seal for a replica that has read all that it seals, and says the CRC32C of it: one that turns out not to
// be readable is not sealed. Sealed so before since Open, it says the sum that was found then.
func (s *Store) SealSum(id ID, length uint64) (uint32, error) {
	const op = "seal"
	if sum, ok := s.sealedSum(id, length); ok {
		return sum, nil
	}
	sum, generation, err := s.sum(op, id, length)
	if err != nil {
		return 0, err
	}
	return sum, s.seal(op, id, length, &verified{sum, generation})
}

// verified is what the bytes that are to be sealed have been found to be.
type verified struct {
	sum        uint32
	generation uint64 // of the extent when they were read
}

// sealedSum is the sum that the extent was sealed with.
func (s *Store) sealedSum(id ID, length uint64) (uint32, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.extents[id]
	if e == nil {
		return 0, false
	}
	st := e.snapshot()
	return st.sum, st.sealed && st.summed && st.idx.end == length
}

func (s *Store) seal(op string, id ID, length uint64, v *verified) error {
	e, err := s.change(op, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	st := e.snapshot()
	if v != nil && v.generation != st.generation {
		return &Error{Op: op, Code: CodeChanged, ID: id, Detail: "cut or replaced since it was read"}
	}
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
	case st.sealed && (v == nil || st.summed):
		return nil
	case length < st.idx.end:
		err = s.cut(op, e, length, v)
	default:
		err = s.mark(op, e, &st, v)
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

// mark ends the file with a mark, so that from now on rot anywhere in it is told from a torn tail, and with a footer.
func (s *Store) mark(op string, e *extent, st *state, v *verified) error {
	marked := st.marked && !st.loose
	if marked && st.footerBytes > 0 && (v == nil || st.summed) {
		return nil
	}
	h, err := s.files.acquire(s.dir.extent(e.id), false)
	if err != nil {
		return errOpen(op, e.id, err)
	}
	defer s.files.release(h)
	pos, next := st.idx.endPos, *st
	if st.loose || st.footerBytes > 0 {
		if err := h.file.Truncate(pos); err != nil {
			return s.failure(op, e.id, distrust(err))
		}
	}
	var end []byte
	if !marked {
		end = AppendRecord(nil, e.id, Record{Offset: next.idx.end, Floor: next.idx.end})
		next.idx.add(next.idx.end, 0, pos)
	}
	end = append(end, next.finish(e.id, v)...)
	// A seal that found no room would make a healthy replica suspect.
	err = within(s.room, func() error { return writeEnd(h.file, end, pos) })
	if err == nil {
		err = syncFile(h.file)
	}
	if err != nil {
		return s.failure(op, e.id, err)
	}
	e.mu.Lock()
	e.finishedLocked(&next)
	e.mu.Unlock()
	s.noteSealed()
	return nil
}

// writeEnd writes what ends a file, behind all records. On a full disk it leaves nothing. Then it cuts the file to the
// size that it has, which gives back what the file system has set aside behind its end for more: on xfs as much again,
// or twice, for as long as the file is kept open. The caller has the extent's write lock, so nobody appends meanwhile,
// and syncs.
func writeEnd(f vfs.File, end []byte, pos int64) error {
	if _, err := f.WriteAt(end, pos); err != nil {
		return undoWrite(f, pos, err)
	}
	if err := f.Truncate(pos + int64(len(end))); err != nil {
		return distrust(err)
	}
	return nil
}

// finish encodes the footer of a state that ends with a mark, and notes it: nothing if there is to be none.
func (st *state) finish(id ID, v *verified) []byte {
	st.marked, st.summed, st.sum = true, v != nil, 0
	if v != nil {
		st.sum = v.sum
	}
	st.punched, st.stubBytes = clip(st.punched, st.idx.end), min(st.stubBytes, st.idx.end)
	buf := st.footer(fileHeader{id: id, fence: st.created, birth: st.birth, stubs: st.stubs})
	st.footerBytes = int64(len(buf))
	st.fileBytes = st.idx.endPos + st.footerBytes
	return buf
}

// finishedLocked takes over what finish has noted.
func (e *extent) finishedLocked(st *state) {
	e.idx, e.marked, e.fileBytes = st.idx, st.marked, st.fileBytes
	e.footerBytes, e.summed, e.sum, e.punched = st.footerBytes, st.summed, st.sum, st.punched
	e.stubBytes = st.stubBytes
}

// cutFooter takes the footer of a file away, durably, before anything is written in its place: what would be left of it
// behind a shorter record would look like a torn tail.
func (s *Store) cutFooter(op string, e *extent, f vfs.File, st state) error {
	if st.footerBytes == 0 {
		return nil
	}
	err := f.Truncate(st.idx.endPos)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return s.failure(op, e.id, distrust(err))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.footerBytes, e.fileBytes, e.summed = 0, st.idx.endPos, false
	return nil
}

// cutIntent is what a cut will do to an extent file: put tail at pos and end the file behind it. tail
// is the shortened record, if the cut is inside one, a mark and the footer. It is durable in a file of its own
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
func (s *Store) cut(op string, e *extent, length uint64, v *verified) error {
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
	c, next := cutIntent{id: e.id, pos: pos}, e.snapshot()
	next.idx = next.idx.clone()
	next.idx.cut(last.Offset, pos)
	if n := len(last.Payload); n > 0 {
		c.tail = AppendRecord(nil, e.id, last)
		next.idx.add(last.Offset, uint32(n), pos)
	}
	c.tail = AppendRecord(c.tail, e.id, Record{Offset: length, Floor: length})
	next.idx.add(length, 0, next.idx.endPos)
	c.tail = append(c.tail, next.finish(e.id, v)...)
	if err := s.promise(s.dir.cut(e.id), appendCutIntent(nil, c), func() error { return c.redo(h.file) }); err != nil {
		return s.failure(op, e.id, err)
	}
	e.mu.Lock()
	e.finishedLocked(&next)
	e.generation++
	e.mu.Unlock()
	s.noteSealed()
	return nil
}

// promise makes an intent durable under a name in staging, does it, and takes it away again.
func (s *Store) promise(name string, intent []byte, do func() error) error {
	err := within(s.room, func() error { return createWith(s.fs, name, intent) })
	if err != nil {
		return err
	}
	if err := syncDir(s.fs, s.dir.staging()); err != nil {
		return err
	}
	if err := do(); err != nil {
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
			h, err = parsePieceHeader(window, r.id)
		}
		if err == nil && h.end() <= end {
			sp.off, sp.pos = h.end(), sp.pos+h.fileBytes()
			continue
		}
		var rec Record
		if err == nil {
			_, rec, _, err = parsePiece(window, r.id)
		}
		if err != nil {
			return Record{}, 0, errCorrupt(op, r.id, sp.off, err)
		}
		rec.Payload = rec.Payload[:end-rec.Offset]
		return rec, sp.pos, nil
	}
	return Record{}, 0, errCorrupt(op, r.id, sp.off, fmt.Errorf("records end before %d", end))
}
