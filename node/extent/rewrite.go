package extent

import (
	"errors"
	"fmt"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/internal/vfs"
)

// A rewrite makes the file of a sealed replica anew, without what was deleted of it: a punch gives back whole blocks
// only, and of small objects most blocks have some that are kept.
//
// Invariants.
//   - Stubs stand for the deleted bytes, with the sums that these had: so no sum of the extent changes, nor that of any
//     of its parts between two multiples of partSumBytes. What a stub stands for is listed as punched.
//   - The replica's file is read only, and read on by others, until the new one is durable, has been read back from the
//     disk and has the sum that the log has. Then the new one takes its name, in one step. A crash leaves the one or
//     the other, and at most a file in staging that Open removes.
//   - Whatever changes the replica meanwhile, or raises its fence, ends the rewrite.
//
// Rejected: moving records within the file, which no crash may interrupt. Rejected: a new copy by way of a Stage: it
// would leave the replica without one in the eyes of all that asks for staged files, and is written in format 1.

// rewriteStepBytes is how much of an extent Rewrite reads or writes before it lets go of it and asks to go on.
const rewriteStepBytes = 256 << 10

// Rewrite says what Store.Rewrite is to do.
type Rewrite struct {
	Fence   Fence // is raised, and the file is made under it
	Birth   Birth
	Length  uint64  // that the extent was sealed at
	Sum     *uint32 // what it has in the log; nil where that is not known
	Deleted []Range // ascending and apart
	// Pace has a piece done, once, when it is its turn, and returns its error; or it returns why it never was. A piece is
	// a rewriteStepBytes read or written.
	Pace func(piece func() error) error
}

// Rewritten says what a rewrite has come to: what the file took on the disk, and takes now.
type Rewritten struct{ Before, After int64 }

// Shrinks says what a replica's file takes on the disk, and about what it would take once it was rewritten without
// what is deleted, which is ascending and apart. ok is false where it cannot be rewritten as it is now.
func (s *Store) Shrinks(id ID, birth Birth, deleted []Range) (now, then int64, ok bool) {
	const op = "shrinks"
	if s.enter(op, id) != nil {
		return 0, 0, false
	}
	defer s.leave()
	e, err := s.use(op, id)
	if err != nil {
		return 0, 0, false
	}
	defer s.unpin(e)
	st := e.snapshot()
	info, err := s.fs.Stat(s.dir.extent(id))
	if err != nil || !st.tells() || !st.birth.mayBe(birth) || st.idx.end <= st.stubBytes {
		return 0, 0, false
	}
	left, stubs := st.idx.end, uint64(0)
	for _, r := range union(clip(deleted, st.idx.end), st.punched) {
		left -= r.To - r.From
		stubs += (r.To-1)/partSumBytes - r.From/partSumBytes + 1
	}
	// What is kept has headers in proportion. Behind each stub a record may begin that is a part of one.
	share := float64(left) / float64(st.idx.end-st.stubBytes)
	return info.DiskBytes, int64(share*float64(st.fileBytes)) + int64(stubs)*2*recordHeaderBytes, true
}

// Rewrite makes the file of a sealed replica anew without what is deleted, and without what has been punched. When it
// returns nil the new file is durable. After an error the replica is as it was. CodeCorrupt: the replica does not have
// the sum that the log says. CodeChanged: something else was done to it meanwhile.
func (s *Store) Rewrite(id ID, r Rewrite) (done Rewritten, err error) {
	s.rewriting.Lock()
	defer s.rewriting.Unlock()
	e := s.pin(id)
	defer s.unpin(e)
	w := rewriter{s: s, e: e, r: r, next: state{idx: newIndex()}}
	if err := w.begin(); err != nil {
		return done, err
	}
	defer func() { w.end(err != nil) }()
	for w.at < r.Length {
		if err := r.Pace(func() error { return w.step(w.write) }); err != nil {
			return done, err
		}
	}
	if err := w.step(w.sync); err != nil {
		return done, err
	}
	back := vfs.FromDisk(w.file)
	for w.back.end < r.Length {
		if err := r.Pace(func() error { return w.step(func() error { return w.readBack(back) }) }); err != nil {
			return done, err
		}
	}
	if err := w.check(); err != nil {
		return done, err
	}
	return w.publish()
}

const opRewrite = "rewrite"

// rewriter is one Rewrite.
type rewriter struct {
	s *Store
	e *extent
	r Rewrite

	was     state // when it began
	deleted []Range
	name    string
	file    vfs.File // the new one
	next    state    // of the new file
	buf     []byte   // of records and stubs, to go behind what is written
	pos     int64    // behind what is written

	at    uint64  // up to where the extent has been read
	old   summed  // what was read
	run   summed  // of the deleted bytes that were read last, for a stub: run.end is how many
	first [4]byte // of them, where they are no more
	back  summed  // what was read back
}

// begin raises the fence and makes the new file.
func (w *rewriter) begin() error {
	s, id := w.s, w.e.id
	e, err := s.change(opRewrite, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	w.was = e.snapshot()
	switch {
	case !w.was.present || !w.was.birth.mayBe(w.r.Birth):
		return errNotFound(opRewrite, id)
	case w.r.Length == 0:
		return &Error{Op: opRewrite, Code: CodeUnsupported, ID: id, Detail: "there is nothing in it"}
	case !w.was.tells() || w.was.idx.end != w.r.Length:
		return &Error{Op: opRewrite, Code: CodeChanged, ID: id, Want: w.r.Length, Have: w.was.idx.end,
			Detail: fmt.Sprintf("only a sealed replica without damage is rewritten; this one has %d bytes, of %d",
				w.was.idx.end, w.r.Length)}
	}
	if err := s.raise(opRewrite, id, w.r.Fence); err != nil {
		return err
	}
	w.deleted, w.name = union(clip(w.r.Deleted, w.r.Length), w.was.punched), s.dir.anew(id)
	header := fileHeader{id: id, fence: w.r.Fence, birth: w.was.birth, stubs: true}
	if err = removeIfThere(s.fs, w.name); err == nil {
		w.file, err = s.fs.Create(w.name)
	}
	if err != nil {
		return s.failure(opRewrite, id, err)
	}
	w.buf = appendFileHeader(w.buf, header)
	w.next = state{present: true, sealed: w.was.sealed, created: header.fence, birth: header.birth, acked: w.was.acked,
		idx: newIndex(), punched: w.deleted, stubs: true, hidden: w.was.hidden}
	return nil
}

// end closes the new file, and removes it where it has no use.
func (w *rewriter) end(useless bool) {
	w.file.Close()
	if !useless || w.s.enter(opRewrite, w.e.id) != nil { // closed: the next Open removes it
		return
	}
	defer w.s.leave()
	if w.s.Failed() == nil {
		// If that fails the name is taken by the next rewrite, or an Open removes it.
		_ = removeIfThere(w.s.fs, w.name)
	}
}

// step does a part while the replica is as it was, and nobody changes it.
func (w *rewriter) step(do func() error) error {
	s, e := w.s, w.e
	if err := s.enter(opRewrite, e.id); err != nil {
		return err
	}
	defer s.leave()
	e.use.RLock()
	defer e.use.RUnlock()
	if err := w.unchanged(e.snapshot()); err != nil {
		return err
	}
	if err := s.Failed(); err != nil {
		return err
	}
	return do()
}

func (w *rewriter) unchanged(now state) error {
	if now.generation != w.was.generation {
		return &Error{Op: opRewrite, Code: CodeChanged, ID: w.e.id, Detail: "cut, punched, replaced or removed meanwhile"}
	}
	return w.s.checkFence(opRewrite, w.e.id, w.r.Fence)
}

// write reads a step of the extent and writes what is kept of it.
func (w *rewriter) write() error {
	s, id := w.s, w.e.id
	h, err := s.files.acquire(s.dir.extent(id), false)
	if err != nil {
		return errOpen(opRewrite, id, err)
	}
	defer s.files.release(h)
	r := reader{s: s, file: h.file, id: id, find: w.e.find}
	from := w.at
	bad := r.eachRecord(w.at, min(w.at+rewriteStepBytes, w.r.Length), func(rec Record, _ bool, _ int64) bool {
		if rec.Offset != w.at {
			return false
		}
		w.take(rec.Payload)
		return true
	})
	if bad == nil && w.at == from {
		bad = fmt.Errorf("the record there begins before it")
	}
	if bad != nil {
		return s.doubt(errCorrupt(opRewrite, id, w.at, bad))
	}
	if w.at == w.r.Length {
		w.stub()
	}
	if _, err := w.file.WriteAt(w.buf, w.pos); err != nil {
		return s.failure(opRewrite, id, spared(err))
	}
	w.pos += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// spared is an error of writing a file that nobody relies on: a full disk is one that is full, whatever else is wrong
// with it.
func spared(err error) error {
	if vfs.IsNoSpace(err) {
		return err
	}
	return distrust(err)
}

// take takes the bytes that follow, in pieces that are deleted, or kept, as a whole.
func (w *rewriter) take(p []byte) {
	for len(p) > 0 {
		end, deleted := w.r.Length, false
		if i := firstBehind(w.deleted, w.at); i < len(w.deleted) {
			if end = w.deleted[i].From; end <= w.at {
				end, deleted = min(w.deleted[i].To, (w.at/partSumBytes+1)*partSumBytes), true
			}
		}
		piece := p[:min(uint64(len(p)), end-w.at)]
		sum := crc32c.Sum(piece)
		if deleted {
			if w.run.end < stubHeadBytes {
				copy(w.first[w.run.end:], piece)
			}
			w.run.add(sum, len(piece))
		} else {
			rec := Record{Offset: w.at, Floor: min(w.was.acked, w.at), Payload: piece}
			w.buf = appendSummed(w.buf, w.e.id, rec, sum)
			w.next.idx.add(w.at, uint32(len(piece)), w.next.idx.endPos)
		}
		w.old.add(sum, len(piece))
		w.at += uint64(len(piece))
		p = p[len(piece):]
		if deleted && w.at == end {
			w.stub()
		}
	}
}

// stub writes a stub for the deleted bytes that were taken last, if there are any.
func (w *rewriter) stub() {
	if w.run.end == 0 {
		return
	}
	if w.run.end > stubHeadBytes {
		w.first = crc32c.Prefix(w.run.sum, int64(w.run.end))
	}
	r := Range{w.at - w.run.end, w.at}
	w.buf = appendStub(w.buf, w.e.id, r, min(w.was.acked, r.From), w.first)
	w.next.idx.note(recordHeader{offset: r.From, length: uint32(w.run.end), stub: true}, w.next.idx.endPos)
	w.next.stubBytes += w.run.end
	w.run, w.first = summed{}, [4]byte{}
}

func (w *rewriter) sync() error {
	if err := syncFile(w.file); err != nil {
		return w.s.failure(opRewrite, w.e.id, err)
	}
	return nil
}

// readBack reads a step of the new file.
func (w *rewriter) readBack(file vfs.File) error {
	r := reader{s: w.s, file: file, id: w.e.id, find: w.next.idx.find}
	step := min(rewriteStepBytes, w.r.Length-w.back.end)
	buf := make([]byte, PartsBufferBytes(step))
	for to := w.back.end + step; w.back.end < to; {
		v, bad := r.parts(opRewrite, buf, to-w.back.end, w.back.end)
		if bad != nil { // of the new file: the replica is none the worse for it
			return &Error{Op: opRewrite, Code: CodeIO, ID: w.e.id, Err: bad, Detail: "the new file cannot be read back"}
		}
		w.back.add(v.Sum, v.Len)
	}
	return nil
}

// check compares what was read, and read back, with what there should be.
func (w *rewriter) check() error {
	if w.r.Sum != nil && w.old.sum != *w.r.Sum {
		return &Error{Op: opRewrite, Code: CodeCorrupt, ID: w.e.id,
			Detail: fmt.Sprintf("the %d bytes have checksum %#08x, want %#08x", w.r.Length, w.old.sum, *w.r.Sum)}
	}
	if w.back.sum != w.old.sum {
		return &Error{Op: opRewrite, Code: CodeIO, ID: w.e.id,
			Detail: fmt.Sprintf("the new file was read back with checksum %#08x, not %#08x", w.back.sum, w.old.sum)}
	}
	return nil
}

// publish ends the new file with a mark and a footer and puts it in the place of the old one.
func (w *rewriter) publish() (done Rewritten, err error) {
	s, id := w.s, w.e.id
	e, err := s.change(opRewrite, id)
	if err != nil {
		return done, err
	}
	defer s.unchange(e)
	now := e.snapshot()
	if err := w.unchanged(now); err != nil {
		return done, err
	}
	w.next.sealed, w.next.acked = now.sealed, now.acked
	if err := w.finish(); err != nil {
		return done, s.failure(opRewrite, id, err)
	}
	before, err := s.fs.Stat(s.dir.extent(id))
	after, err2 := s.fs.Stat(w.name)
	if err := errors.Join(err, err2); err != nil {
		return done, s.failure(opRewrite, id, err)
	}
	done = Rewritten{before.DiskBytes, after.DiskBytes}
	if done.After >= done.Before {
		return done, &Error{Op: opRewrite, Code: CodeUnsupported, ID: id,
			Detail: fmt.Sprintf("the new file takes %d bytes, the old one %d", done.After, done.Before)}
	}
	e.use.Lock()
	defer e.use.Unlock()
	s.files.forget(s.dir.extent(id))
	if err := s.fs.Rename(w.name, s.dir.extent(id)); err != nil {
		return done, s.failure(opRewrite, id, err)
	}
	e.mu.Lock()
	e.replaceLocked(w.next) // also where the next step fails: the name leads to this file from now on
	e.mu.Unlock()
	for _, dir := range []string{s.dir.fan(id), s.dir.staging()} {
		if err := syncDir(s.fs, dir); err != nil {
			return done, s.failure(opRewrite, id, err)
		}
	}
	s.noteSealed()
	return done, nil
}

// finish writes the mark and the footer, durably.
func (w *rewriter) finish() error {
	end := AppendRecord(nil, w.e.id, Record{Offset: w.r.Length, Floor: w.r.Length})
	w.next.idx.add(w.r.Length, 0, w.next.idx.endPos)
	footer := w.next.finish(w.e.id, &verified{sum: w.back.sum})
	if len(footer) == 0 {
		return fmt.Errorf("its footer would be longer than %d bytes", maxFooterBytes)
	}
	if _, err := w.file.WriteAt(append(end, footer...), w.pos); err != nil {
		return spared(err)
	}
	if err := w.file.Truncate(w.next.fileBytes); err != nil { // what is set aside behind its end, see writeEnd
		return distrust(err)
	}
	return syncFile(w.file)
}
