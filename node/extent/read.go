package extent

import (
	"io"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/internal/vfs"
)

// ReadAt fills p with the extent's bytes from off on, all of them verified. Where fewer are durable
// it returns those with CodeTooShort, whose cause is io.EOF. CodeCorrupt tells in Offset which record
// is bad; the bytes before it are in p, and n says how many. It is for copies: what has been punched is read as it is
// in the file now, and has the sums that it had.
func (s *Store) ReadAt(id ID, p []byte, off uint64) (n int, err error) {
	v, err := s.view("read", id, uint64(len(p)), off, func(op string, r *reader, n, off uint64) (Verified, *Error) {
		return r.fillSum(op, p[:n], off)
	})
	return v.Len, err
}

// ReadSum is ReadAt, and the CRC32C of the bytes that are in p. The bytes are not summed again for it. CodePunched
// where some of them have been punched.
func (s *Store) ReadSum(id ID, p []byte, off uint64) (n int, sum uint32, err error) {
	v, err := s.view("read", id, uint64(len(p)), off, func(op string, r *reader, n, off uint64) (Verified, *Error) {
		if bad := r.refusePunched(op, n, off); bad != nil {
			return Verified{}, bad
		}
		return r.fillSum(op, p[:n], off)
	})
	return v.Len, v.Sum, err
}

// ReadParts reads up to n of the extent's bytes from off on into buf, and says where in buf they are. They are
// verified, and all that one or a few reads of the file give: fewer than n where buf is too small or the records
// change, but at least one if err is nil and n is not 0. Errors are those of ReadSum; what was good before is in v. buf
// must have room for a record at least, PartsBufferBytes(n) for all that there is to gain.
func (s *Store) ReadParts(id ID, buf []byte, n, off uint64) (v Verified, err error) {
	return s.view("read", id, n, off, func(op string, r *reader, n, off uint64) (Verified, *Error) {
		if bad := r.refusePunched(op, n, off); bad != nil {
			return Verified{}, bad
		}
		return r.parts(op, buf, n, off)
	})
}

// look reads n bytes from off on, which the index covers.
type look func(op string, r *reader, n, off uint64) (Verified, *Error)

// view has an extent's bytes [off, off+n), as far as there are any, looked at.
func (s *Store) view(op string, id ID, n, off uint64, look look) (Verified, error) {
	if err := s.enter(op, id); err != nil {
		return Verified{}, err
	}
	defer s.leave()
	e, err := s.use(op, id)
	if err != nil {
		return Verified{}, err
	}
	defer s.unpin(e)
	v, _, err := s.viewPinned(op, e, n, off, look)
	return v, err
}

// viewPinned is view of an extent that the caller has pinned, in a call that has entered. It also returns the
// generation that was looked at.
func (s *Store) viewPinned(op string, e *extent, n, off uint64, look look) (v Verified, generation uint64, err error) {
	e.use.RLock()
	defer e.use.RUnlock()
	st := e.snapshot()
	if !st.present {
		return Verified{}, 0, errNotFound(op, e.id)
	}
	if st.broken != nil {
		return Verified{}, 0, errCorrupt(op, e.id, 0, st.broken)
	}
	if off > st.idx.end || n > st.idx.end-off {
		short := errTooShort(op, e.id, off+n, st.idx.end)
		short.Err = io.EOF
		n, err = st.idx.end-min(off, st.idx.end), short
	}
	if n > 0 {
		h, openErr := s.files.acquire(s.dir.extent(e.id), s.Failed() != nil)
		if openErr != nil {
			return Verified{}, 0, errOpen(op, e.id, openErr)
		}
		defer s.files.release(h)
		r := reader{s: s, file: h.file, id: e.id, find: e.find, punched: st.punched}
		if len(st.hidden) > 0 {
			r.punched = union(st.hidden, st.punched)
		}
		var bad *Error
		if v, bad = look(op, &r, n, off); bad != nil {
			err = bad
		}
	}
	return v, st.generation, err
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

	punched []Range // of the extent
}

// read fills p with what is at off; the index covers it.
func (r *reader) read(op string, p []byte, off uint64) (n int, bad *Error) {
	v, bad := r.fillSum(op, p, off)
	return v.Len, bad
}

// fillSum is read, and the sum of what is in p. There are no parts.
func (r *reader) fillSum(op string, p []byte, off uint64) (v Verified, bad *Error) {
	bufp, _ := r.s.buffers.Get().(*[]byte)
	if bufp == nil {
		bufp = new([]byte)
	}
	defer r.s.buffers.Put(bufp)
	if cap(*bufp) < partsBufferBytes {
		*bufp = make([]byte, partsBufferBytes)
	}
	for v.Len < len(p) && bad == nil {
		var got Verified
		got, bad = r.parts(op, (*bufp)[:partsBufferBytes], uint64(len(p)-v.Len), off+uint64(v.Len))
		v.Sum = crc32c.Combine(v.Sum, got.Sum, int64(got.Len))
		for _, part := range got.Parts {
			v.Len += copy(p[v.Len:], part)
		}
	}
	return v, bad
}

// doubt answers damage that a read has met. Once the disk has failed nothing tells rot from a disk that gives wrong
// bytes, or none: the replica may be whole, and is not called damaged.
func (s *Store) doubt(bad *Error) *Error {
	if s.Failed() == nil {
		return bad
	}
	return &Error{Op: bad.Op, Code: CodeDiskFailed, ID: bad.ID, Err: bad,
		Detail: "the disk has failed, what it reads says nothing of the replica"}
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
	buf := make([]byte, PartsBufferBytes(length))
	look := func(op string, r *reader, n, off uint64) (Verified, *Error) { return r.parts(op, buf, n, off) }
	for off := uint64(0); ; {
		v, generation, err := s.viewPinned(op, e, length-off, off, look)
		if err != nil {
			return 0, 0, err
		}
		if off == 0 {
			first = generation
		}
		if generation != first {
			return 0, 0, &Error{Op: op, Code: CodeChanged, ID: id, Detail: "cut or replaced while it was read"}
		}
		sum = crc32c.Combine(sum, v.Sum, int64(v.Len))
		if off += uint64(v.Len); off == length {
			return sum, first, nil
		}
	}
}
