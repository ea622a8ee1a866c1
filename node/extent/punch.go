package extent

import (
	"errors"
	"fmt"
	"slices"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/internal/vfs"
)

// A punch gives the disk back what deleted ranges of a sealed replica take there.
//
// Goal. Sums of extents are in the operation log, and copies, scrubs and verifies compare with them: they must not come
// to know which replica has been punched, and how far.
//
// Invariants.
//   - Whole records that hold nothing but deleted bytes are replaced, up to MaxRecordBytes of them by one: it covers
//     the same bytes of the extent, has the sum that they had together, and is zeros behind four bytes that give it
//     that sum (crc32c.Prefix). So no sum of the extent changes. A zeroed record in a punched range verifies, and one
//     anywhere else is rot as before. What the headers of the records took is filled with marks, so that no other
//     record moves.
//   - The same holds for every part of the extent between two multiples of partSumBytes: a copy may have one such part
//     of a replica that is punched and the next of one that is not. Should it change over elsewhere, it is found not
//     to be what the log has, and is made anew.
//   - What has been punched is listed in the footer, and read for nobody but copies (CodePunched): who began to read
//     before the log said "deleted" gets no zeros, nor does anybody if an older log takes the place of a lost one.
//   - The log has said that these bytes are deleted, and no record that holds others is written to. All that will be
//     written is durable beside the file before it is touched, and Open does it again: see punchIntent.
//
// Rejected: holes with nothing in their place, and the sums of what was there in a file beside. Everything that reads
// a file, and every node that copies from another, would have to know them. Rejected: whole blocks inside of records
// only: an object of 4 KiB has none.

const (
	// partSumBytes is between which multiples in an extent a punch leaves all sums as they were.
	partSumBytes = 64 << 10
	// blockBytes is what a disk is given back at the least.
	blockBytes = 4 << 10
	// punchedAtOnce bounds how much of a file one Punch replaces, during which nobody reads it.
	punchedAtOnce = 4 << 20
)

// Punch gives the disk back what it can of the deleted ranges of a sealed replica, which are ascending and apart, and
// refuses to read them from now on. It does so much at once, and reports whether there is more to do. What cannot
// be punched now, for want of a footer, is left. CodeUnsupported: the file system gives nothing back.
func (s *Store) Punch(id ID, birth Birth, deleted []Range) (more bool, err error) {
	const op = "punch"
	e, err := s.change(op, id)
	if err != nil {
		return false, err
	}
	defer s.unchange(e)
	st := e.snapshot()
	switch {
	case !st.present || !st.birth.mayBe(birth):
		return false, errNotFound(op, id)
	case !st.tells():
		return false, nil
	}
	deleted = union(clip(deleted, st.idx.end), st.punched)
	if slices.Equal(deleted, st.punched) {
		return false, nil
	}
	h, err := s.files.acquire(s.dir.extent(id), false)
	if err != nil {
		return false, errOpen(op, id, err)
	}
	defer s.files.release(h)
	if err := h.file.Punch(st.fileBytes, blockBytes); errors.Is(err, errors.ErrUnsupported) { // asks; nothing is there
		return false, &Error{Op: op, Code: CodeUnsupported, ID: id, Detail: "the file system gives nothing back"}
	} else if err != nil {
		return false, s.failure(op, id, err)
	}
	p := puncher{id: id, next: st, left: punchedAtOnce}
	p.next.idx = st.idx.clone()
	r := reader{s: s, file: h.file, id: id, find: e.find}
	for _, part := range minus(deleted, st.punched) {
		if p.take(&r, part, deleted); p.left <= 0 {
			break
		}
	}
	end := st.idx.end
	if p.left <= 0 {
		end = p.end
	}
	p.next.punched = union(clip(deleted, end), st.punched)
	return p.left <= 0, s.punch(op, e, &p, h.file)
}

// Punched is what has been punched of an extent, or is hidden as if it were: see Stage.Hide.
func (s *Store) Punched(id ID) ([]Range, error) {
	const op = "punched"
	if err := s.enter(op, id); err != nil {
		return nil, err
	}
	defer s.leave()
	e, err := s.use(op, id)
	if err != nil {
		return nil, err
	}
	defer s.unpin(e)
	st := e.snapshot()
	if !st.present {
		return nil, errNotFound(op, id)
	}
	return union(st.hidden, st.punched), nil
}

// punch carries out what was planned. The caller holds extent.write.
func (s *Store) punch(op string, e *extent, p *puncher, f vfs.File) error {
	was := e.snapshot()
	var v *verified
	if was.summed {
		v = &verified{sum: was.sum}
	}
	footer := p.next.finish(e.id, v)
	if len(footer) == 0 {
		return nil // it would be too long
	}
	in := punchIntent{id: e.id, header: fileHeader{id: e.id, fence: was.created, birth: was.birth},
		size: p.next.fileBytes, zeros: p.zeros, writes: append(p.writes, patch{pos: p.next.idx.endPos, bytes: footer})}
	e.use.Lock()
	defer e.use.Unlock()
	// All that needs room is taken first, and given back if there is none: later on there is no way back.
	err := within(s.room, func() error {
		return writeEnd(f, make([]byte, max(0, in.size-was.fileBytes)), was.fileBytes)
	})
	if err == nil {
		err = s.promise(s.dir.punch(e.id), appendPunchIntent(nil, in), func() error { return in.redo(f) })
		if err != nil && !isDistrusted(err) { // nothing but its size was touched yet
			if undone := f.Truncate(was.fileBytes); undone != nil {
				err = distrust(errors.Join(err, undone))
			}
		}
	}
	if err != nil {
		return s.failure(op, e.id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finishedLocked(&p.next)
	e.hidden = minus(e.hidden, e.punched)
	e.generation++
	return nil
}

// puncher plans a Punch.
type puncher struct {
	id   ID
	next state  // with what is planned. Its index is the puncher's own
	left int64  // of punchedAtOnce
	end  uint64 // up to where records have been looked at

	run    []byte // payload of whole records that follow one another, to be replaced by one
	first  Record // of these, without its payload; its floor is the highest of theirs
	pos    int64  // where it is in the file
	posEnd int64  // where they end

	zeros  []stretch
	writes []patch
}

// take plans to replace the records that hold a part of what is deleted, as long as something is left.
func (p *puncher) take(r *reader, part Range, deleted []Range) {
	around := deleted[firstBehind(deleted, part.From)]
	bad := r.eachRecord(max(part.From, p.end), part.To, func(rec Record, stub bool, pos int64) bool {
		end := rec.Offset + uint64(len(rec.Payload))
		if whole := rec.Offset >= around.From && end <= around.To; !whole || stub {
			p.replace()
		} else {
			if len(p.run)+len(rec.Payload) > MaxRecordBytes {
				p.replace()
			}
			if p.left <= 0 {
				return false
			}
			if len(p.run) == 0 {
				p.first, p.pos = Record{Offset: rec.Offset}, pos
			}
			p.first.Floor = max(p.first.Floor, rec.Floor)
			p.run, p.posEnd = append(p.run, rec.Payload...), pos+recordHeaderBytes+int64(len(rec.Payload))
		}
		p.end = end
		return p.left > 0
	})
	p.replace()
	if bad != nil { // rot, which the scrub is there for
		p.end = part.To
	}
}

// replace plans one record in the place of run, if that gives the disk something back.
func (p *puncher) replace() {
	run := p.run
	p.run = p.run[:0]
	if len(run) == 0 {
		return
	}
	p.left -= p.posEnd - p.pos
	at := func(off uint64) int64 { return p.pos + recordHeaderBytes + int64(off-p.first.Offset) }
	var zeros []stretch
	var heads []patch
	blocks, end := int64(0), p.first.Offset+uint64(len(run))
	for from := p.first.Offset; from < end; {
		to := min((from/partSumBytes+1)*partSumBytes, end)
		part := run[from-p.first.Offset : to-p.first.Offset]
		if len(part) > 4 {
			head := crc32c.Prefix(crc32c.Sum(part), int64(len(part)))
			copy(part, head[:])
			clear(part[4:])
			z := stretch{pos: at(from) + 4, n: int64(len(part)) - 4}
			zeros, blocks = append(zeros, z), blocks+z.blocks()
		}
		heads = append(heads, patch{pos: at(from), bytes: slices.Clone(part[:min(4, len(part))])})
		from = to
	}
	if blocks == 0 {
		return
	}
	p.first.Floor = min(p.first.Floor, p.first.Offset)
	rec := AppendRecord(nil, p.id, Record{Offset: p.first.Offset, Floor: p.first.Floor, Payload: run})
	p.zeros = append(p.zeros, zeros...)
	p.writes = append(p.writes, patch{pos: p.pos, bytes: rec[:recordHeaderBytes]})
	p.writes = append(p.writes, heads...)
	var marks []byte
	for pos := at(end); pos < p.posEnd; pos += recordHeaderBytes {
		marks = AppendRecord(marks, p.id, Record{Offset: end, Floor: p.first.Floor})
	}
	if len(marks) == 0 {
		return // one record in the place of one
	}
	p.writes = append(p.writes, patch{pos: at(end), bytes: marks})
	p.next.idx.replace(p.first.Offset, end, p.pos, p.posEnd)
}

// eachRecord calls do with the records and stubs that hold bytes of [off, end), which the index covers, until it answers false.
// They are verified, and do must not keep them.
func (r *reader) eachRecord(off, end uint64, do func(rec Record, stub bool, pos int64) bool) error {
	buf := make([]byte, partsBufferBytes)
	for off < end {
		sp, ok := r.find(off)
		if !ok {
			return fmt.Errorf("no valid record is at offset %d", off)
		}
		window, err := r.fill(buf, sp, end)
		if err != nil {
			return err
		}
		was := off
		for sp.off < end && sp.pos < sp.limit {
			rest, rec, stub, err := parsePiece(window, r.id)
			if err != nil && off > was { // most likely the window ends here
				break
			}
			if err != nil {
				return err
			}
			next := rec.Offset + uint64(len(rec.Payload))
			if next > off {
				if !do(rec, stub, sp.pos) {
					return nil
				}
				off = next
			}
			window, sp.off, sp.pos = rest, next, sp.pos+int64(len(window)-len(rest))
		}
		if off == was {
			return fmt.Errorf("records end before offset %d", off)
		}
	}
	return nil
}

// refusePunched refuses to read what has been punched of [off, off+n).
func (r *reader) refusePunched(op string, n, off uint64) *Error {
	if i := firstBehind(r.punched, off); i < len(r.punched) && r.punched[i].From < off+n {
		p := r.punched[i]
		return &Error{Op: op, Code: CodePunched, ID: r.id,
			Detail: fmt.Sprintf("%d bytes at offset %d were deleted, and their place given back", p.To-p.From, p.From)}
	}
	return nil
}
