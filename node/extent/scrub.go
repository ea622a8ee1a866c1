package extent

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/datanode/datanode/node/internal/vfs"
)

// scrubStepBytes is how much Scrub reads before it lets go of the extent and asks whether to go on.
const scrubStepBytes = 256 << 10

// Scrub is Sum for whoever is in no hurry: before it reads a piece it calls pace with the bytes of it, and pace waits
// or ends it with an error. It holds nothing meanwhile, leaves the system's cache as it was, and reads what Sum does
// not: the file's header and, of a sealed replica, the mark at its end. CodeNotFound tells of another birth, too.
func (s *Store) Scrub(id ID, birth Birth, length uint64, pace func(bytes int) error) (uint32, error) {
	return s.scrub(id, birth, length, pace, vfs.Passing)
}

// ScrubDisk is Scrub that reads what the disk has, and not what is in the system's cache: see vfs.FromDisk.
func (s *Store) ScrubDisk(id ID, birth Birth, length uint64, pace func(bytes int) error) (uint32, error) {
	return s.scrub(id, birth, length, pace, vfs.FromDisk)
}

// Written is when the file of an extent was last written, zero where nobody can tell or there is none.
func (s *Store) Written(id ID) time.Time {
	info, err := s.fs.Stat(s.dir.extent(id))
	if err != nil {
		return time.Time{}
	}
	return info.Modified
}

func (s *Store) scrub(
	id ID, birth Birth, length uint64, pace func(bytes int) error, way func(vfs.File) vfs.File,
) (uint32, error) {
	const op = "scrub"
	e := s.pin(id)
	defer s.unpin(e)
	x, err := s.beginScrub(op, e, birth, way)
	if err != nil {
		return 0, err
	}
	defer x.r.file.Close()
	if x.end < length {
		return 0, errTooShort(op, id, length, x.end)
	}
	var sum uint32
	buf := make([]byte, min(scrubStepBytes, length))
	for off := uint64(0); off < length; {
		step := buf[:min(uint64(len(buf)), length-off)]
		if err := pace(len(step)); err != nil {
			return 0, err
		}
		if err := x.step(op, step, off); err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli, step)
		off += uint64(len(step))
	}
	return sum, nil
}

// scrubbing is one Scrub, with a handle of its own: those that are shared are for reads that are waited for.
type scrubbing struct {
	s          *Store
	e          *extent
	r          reader
	generation uint64
	end        uint64
}

func (s *Store) beginScrub(op string, e *extent, birth Birth, way func(vfs.File) vfs.File) (*scrubbing, error) {
	if err := s.enter(op, e.id); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.wake(op, e); err != nil {
		return nil, err
	}
	e.use.RLock()
	defer e.use.RUnlock()
	st := e.snapshot()
	switch {
	case !st.present:
		return nil, errNotFound(op, e.id)
	case st.broken != nil:
		return nil, errCorrupt(op, e.id, 0, st.broken)
	}
	file, err := s.fs.OpenRead(s.dir.extent(e.id))
	if err != nil {
		return nil, errOpen(op, e.id, err)
	}
	file = way(file)
	if bad := checkEnds(op, file, e.id, st, birth); bad != nil {
		file.Close()
		return nil, s.doubt(bad)
	}
	return &scrubbing{s: s, e: e, generation: st.generation, end: st.idx.end,
		r: reader{s: s, file: file, id: e.id, find: e.find}}, nil
}

// checkEnds reads what no read of bytes does. An open replica has no mark yet, or one that is no longer its end.
func checkEnds(op string, file vfs.File, id ID, st state, birth Birth) *Error {
	h, err := readFileHeader(file, id)
	if err != nil {
		return errCorrupt(op, id, 0, err)
	}
	if !h.birth.mayBe(birth) {
		bad := errNotFound(op, id)
		bad.Detail = fmt.Sprintf("the file is of an extent born %08x, not %08x", h.birth, birth)
		return bad
	}
	if !st.marked {
		return nil
	}
	buf := make([]byte, recordHeaderBytes)
	n, err := file.ReadAt(buf, st.idx.endPos-recordHeaderBytes)
	if n == len(buf) {
		var mark recordHeader
		if mark, err = parseRecordHeader(buf, id); err == nil && (mark.length != 0 || mark.offset != st.idx.end) {
			err = fmt.Errorf("a record of %d bytes for offset %d", mark.length, mark.offset)
		}
	}
	if err != nil {
		return errCorrupt(op, id, st.idx.end, fmt.Errorf("the mark at the end: %w", err))
	}
	if st.footerBytes == 0 {
		return nil
	}
	var without *footerError
	if _, _, err := readFooter(file, id); errors.As(err, &without) {
		return errCorrupt(op, id, st.idx.end, without)
	} else if err != nil {
		return errOpen(op, id, err)
	}
	return nil
}

// step reads and verifies one piece.
func (x *scrubbing) step(op string, p []byte, off uint64) error {
	if err := x.s.enter(op, x.e.id); err != nil {
		return err
	}
	defer x.s.leave()
	x.e.use.RLock()
	defer x.e.use.RUnlock()
	if x.e.snapshot().generation != x.generation {
		return &Error{Op: op, Code: CodeChanged, ID: x.e.id, Detail: "cut, replaced or removed while it was read"}
	}
	if _, bad := x.r.read(op, p, off); bad != nil {
		return bad
	}
	return nil
}
