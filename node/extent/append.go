package extent

import (
	"fmt"

	"github.com/datanode/datanode/node/internal/vfs"
)

// writeBytes is about how much one call to the file system writes: the largest append of a node, with its record
// headers.
const writeBytes = 1<<20 + 2*MaxRecordBytes

// Append adds parts to an extent, one behind the other from offset on, which must be its length, and returns when all
// are durable: with one sync, however many they are. Each part gets records of its own, so that who reads it reads
// and verifies no other. After CodeNoSpace, CodeWrongOffset and the like nothing was added. After CodeDiskFailed it is
// unknown how much of the parts will be there when the store is opened again.
//
// The caller must have acknowledged, or know it from who does, all that is before offset: an append is the proof
// of that, see Info.Floor. Nothing of the parts is, whichever of them reached the disk: so that is the floor of all
// their records, and after a crash what is torn among them is cut, from the first unsound record on.
func (s *Store) Append(id ID, fence Fence, offset uint64, parts ...[]byte) error {
	const op = "append"
	e, err := s.change(op, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	if err := s.checkFence(op, id, fence); err != nil {
		return err
	}
	st := e.snapshot()
	if err := st.appendable(op, id, offset); err != nil || totalBytes(parts) == 0 {
		return err
	}
	h, err := s.files.acquire(s.dir.extent(id), false)
	if err != nil {
		return errOpen(op, id, err)
	}
	defer s.files.release(h)
	if err := s.cutFooter(op, e, h.file, st); err != nil {
		return err
	}
	if err := s.writeRecords(h.file, id, st.idx.endPos, offset, offset, parts...); err != nil {
		return s.failure(op, id, undoWrite(h.file, st.idx.endPos, err))
	}
	if err := syncFile(h.file); err != nil {
		return s.failure(op, id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range parts {
		e.idx.addAll(len(p))
	}
	e.marked, e.fileBytes = false, e.idx.endPos
	e.acked = max(e.acked, offset)
	return nil
}

// Acknowledge notes that the extent's first n bytes are acknowledged, which only the writer knows before it
// writes again. It is kept in memory: the next append makes it durable.
func (s *Store) Acknowledge(id ID, n uint64) {
	s.mu.Lock()
	e := s.extents[id]
	s.mu.Unlock()
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if n <= e.idx.end {
		e.acked = max(e.acked, n)
	}
}

func (st *state) appendable(op string, id ID, offset uint64) error {
	switch {
	case !st.present:
		return errNotFound(op, id)
	case st.broken != nil:
		return errCorrupt(op, id, 0, st.broken)
	case st.sealed:
		return &Error{Op: op, Code: CodeSealed, ID: id, Want: st.idx.end,
			Detail: fmt.Sprintf("at length %d", st.idx.end)}
	case offset != st.idx.end:
		return &Error{Op: op, Code: CodeWrongOffset, ID: id, Want: st.idx.end, Have: offset,
			Detail: fmt.Sprintf("offset %d, the length is %d", offset, st.idx.end)}
	case len(st.idx.gaps) > 0:
		return errCorrupt(op, id, st.idx.gaps[0].from, fmt.Errorf("a damaged replica takes no appends"))
	case st.loose:
		return errCorrupt(op, id, st.idx.end, fmt.Errorf("a replica whose end is unsound takes no appends"))
	}
	return nil
}

// writeRecords writes parts as records for offset off and after, at pos in the file. floor is what is
// durable before them.
func (s *Store) writeRecords(f vfs.File, id ID, pos int64, off, floor uint64, parts ...[]byte) error {
	bufp, _ := s.buffers.Get().(*[]byte)
	if bufp == nil {
		bufp = new([]byte)
	}
	defer s.buffers.Put(bufp)
	buf := (*bufp)[:0]
	flush := func() error {
		_, err := f.WriteAt(buf, pos)
		pos += int64(len(buf))
		*bufp, buf = buf, buf[:0]
		return err
	}
	for _, p := range parts {
		for len(p) > 0 {
			k := min(len(p), MaxRecordBytes)
			if len(buf)+recordHeaderBytes+k > writeBytes {
				if err := flush(); err != nil {
					return err
				}
			}
			buf = AppendRecord(buf, id, Record{Offset: off, Floor: floor, Payload: p[:k]})
			off, p = off+uint64(k), p[k:]
		}
	}
	if len(buf) == 0 {
		return nil
	}
	return flush()
}

func totalBytes(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}
