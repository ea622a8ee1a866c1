package extent

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/datanode/datanode/node/internal/vfs"
)

const (
	// sumStepBytes is how much Sum reads before it lets go of the extent, so that a Drop need not wait
	// for a whole one.
	sumStepBytes = 1 << 20
	// readWindowBytes is the most that is read from a file at once. Holds any record.
	readWindowBytes = 256 << 10
)

// ReadAt fills p with the extent's bytes from off on, all of them verified. Where fewer are durable
// it returns those with CodeTooShort, whose cause is io.EOF. CodeCorrupt tells in Offset which record
// is bad; the bytes before it are in p, and n says how many.
func (s *Store) ReadAt(id ID, p []byte, off uint64) (n int, err error) {
	const op = "read"
	if err := s.enter(op, id); err != nil {
		return 0, err
	}
	defer s.leave()
	e, err := s.use(op, id)
	if err != nil {
		return 0, err
	}
	defer s.unpin(e)
	e.use.RLock()
	defer e.use.RUnlock()
	_, n, err = s.read(op, e, p, off)
	return n, err
}

// read is ReadAt under e.use. It also returns the generation that it read.
func (s *Store) read(op string, e *extent, p []byte, off uint64) (generation uint64, n int, err error) {
	st := e.snapshot()
	if !st.present {
		return 0, 0, errNotFound(op, e.id)
	}
	if st.broken != nil {
		return 0, 0, errCorrupt(op, e.id, 0, st.broken)
	}
	want := uint64(len(p))
	if off > st.idx.end || want > st.idx.end-off {
		p = p[:st.idx.end-min(off, st.idx.end)]
		short := errTooShort(op, e.id, off+want, st.idx.end)
		short.Err = io.EOF
		err = short
	}
	if len(p) > 0 {
		h, openErr := s.files.acquire(s.dir.extent(e.id), s.Failed() != nil)
		if openErr != nil {
			return 0, 0, errOpen(op, e.id, openErr)
		}
		defer s.files.release(h)
		r := reader{s: s, file: h.file, id: e.id, find: e.find}
		var bad *Error
		if n, bad = r.read(op, p, off); bad != nil {
			err = bad
		}
	}
	return st.generation, n, err
}

func (e *extent) find(off uint64) (span, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.idx.find(off)
}

// reader reads and verifies bytes of one file.
type reader struct {
	s    *Store
	file vfs.File
	id   ID
	find func(off uint64) (span, bool)
}

// read fills p with what is at off; the index covers it.
func (r *reader) read(op string, p []byte, off uint64) (n int, bad *Error) {
	bufp, _ := r.s.buffers.Get().(*[]byte)
	if bufp == nil {
		bufp = new([]byte)
	}
	defer r.s.buffers.Put(bufp)
	if cap(*bufp) < readWindowBytes {
		*bufp = make([]byte, readWindowBytes)
	}
	for n < len(p) {
		sp, ok := r.find(off + uint64(n))
		if !ok {
			return n, errCorrupt(op, r.id, sp.off, fmt.Errorf("no valid record is there"))
		}
		got, bad := r.span(op, (*bufp)[:readWindowBytes], sp, p[n:], off+uint64(n))
		n += got
		if bad != nil {
			return n, bad
		}
	}
	return n, nil
}

// span fills p, from off on, with what the records of one span hold; at least one byte if bad is nil.
func (r *reader) span(op string, buf []byte, sp span, p []byte, off uint64) (n int, bad *Error) {
	var window []byte
	for sp.pos < sp.limit && n < len(p) {
		h, err := parseRecordHeader(window, r.id)
		if err != nil || int64(len(window)) < h.fileBytes() {
			// The window ends here: read on. What is invalid in a fresh window is damaged.
			if window, err = r.fill(buf, sp, off+uint64(len(p))); err == nil {
				h, err = parseRecordHeader(window, r.id)
			}
			if err == nil && int64(len(window)) < h.fileBytes() {
				err = fmt.Errorf("record of %d bytes reaches over the end of the file", h.fileBytes())
			}
		}
		if err == nil && h.offset != sp.off {
			err = fmt.Errorf("record says it is for offset %d", h.offset)
		}
		if err == nil && h.end() > off {
			var rec Record
			if _, rec, err = ParseRecord(window, r.id); err == nil {
				n += copy(p[n:], rec.Payload[off+uint64(n)-rec.Offset:])
			}
		}
		if err != nil {
			return n, errCorrupt(op, r.id, sp.off, err)
		}
		window = window[h.fileBytes():]
		sp.off, sp.pos = h.end(), sp.pos+h.fileBytes()
	}
	if n == 0 {
		return 0, errCorrupt(op, r.id, off, fmt.Errorf("records end at %d", sp.off))
	}
	return n, nil
}

// fill reads the file from the start of a span, no further than what is needed for bytes before end.
func (r *reader) fill(buf []byte, sp span, end uint64) ([]byte, error) {
	want := min(int64(len(buf)), sp.limit-sp.pos)
	if end > sp.off && sp.each > 0 {
		records := (int64(end-sp.off) + int64(sp.each) - 1) / int64(sp.each)
		want = min(want, records*(recordHeaderBytes+int64(sp.each)))
	}
	n, err := r.file.ReadAt(buf[:want], sp.pos)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:n], err
}

// Sum is the CRC32C (Castagnoli) of the extent's first length bytes. It reads and verifies them all.
func (s *Store) Sum(id ID, length uint64) (uint32, error) {
	sum, _, err := s.sum("sum", id, length)
	return sum, err
}

// sum is Sum. It also returns the generation that it read.
func (s *Store) sum(op string, id ID, length uint64) (sum uint32, first uint64, err error) {
	if err := s.enter(op, id); err != nil {
		return 0, 0, err
	}
	defer s.leave()
	e, err := s.use(op, id)
	if err != nil {
		return 0, 0, err
	}
	defer s.unpin(e)
	if have := e.snapshot().idx.end; length > have {
		return 0, 0, errTooShort(op, id, length, have)
	}
	buf := make([]byte, min(sumStepBytes, length))
	for off := uint64(0); ; {
		step := buf[:min(uint64(len(buf)), length-off)]
		e.use.RLock()
		generation, _, err := s.read(op, e, step, off)
		e.use.RUnlock()
		if err != nil {
			return 0, 0, err
		}
		if off == 0 {
			first = generation
		}
		if generation != first {
			return 0, 0, &Error{Op: op, Code: CodeChanged, ID: id, Detail: "cut or replaced while it was read"}
		}
		sum = crc32.Update(sum, castagnoli, step)
		if off += uint64(len(step)); off == length {
			return sum, first, nil
		}
	}
}
