package extent

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/internal/vfs"
)

// Stage is a replica that is being copied. It has a file of its own and no part in reads until
// Commit. An extent has one stage at a time: a newer one, a Drop or a higher fence ends it. Its
// methods may be called from any goroutine, one at a time.
//
// What is appended is summed once, for its record and for the whole, and written past the system's cache where that
// can be: see vfs.Tail. What an earlier stage has left is read for the sum, by Commit.
type Stage struct {
	s      *Store
	e      *extent
	fence  Fence
	birth  Birth
	header fileHeader
	ended  atomic.Pointer[Error] // set once, when the stage can do no more

	mu      sync.Mutex
	file    vfs.File                       // nil once closed
	tail    *vfs.Tail                      // writes the end of file; nil once closed
	idx     index                          // of what was appended. Invariant: idx.endPos is where tail ends
	sum     summed                         // of the first bytes
	durable durable                        // Invariant: durable.end <= idx.end
	hide    []Range                        // see Hide
	changes uint64                         // counts Append and Truncate
	pace    func(piece func() error) error // nil: none
}

// StageFor is Stage for a replica of so many bytes, which matters to nobody with one disk.
func (s *Store) StageFor(id ID, fence Fence, birth Birth, _ uint64) (*Stage, error) {
	return s.Stage(id, fence, birth)
}

// Stage begins to copy a replica of an extent, or goes on where an earlier stage stopped: Len tells
// how much is there, all verified. It raises the fence, and ends an earlier stage of the extent. A
// replica that exists is read on until Commit replaces it. What was staged of another birth is not gone on with.
func (s *Store) Stage(id ID, fence Fence, birth Birth) (*Stage, error) {
	const op = "stage"
	e, err := s.change(op, id)
	if err != nil {
		return nil, err
	}
	defer s.unchange(e)
	if err := s.raise(op, id, fence); err != nil {
		return nil, err
	}
	if e.stage != nil {
		e.stage.end(CodeClosed, fmt.Sprintf("a stage under fence %d took over", fence))
		e.stage = nil
	}
	t := &Stage{s: s, e: e, fence: fence, birth: birth}
	if err := t.open(); err != nil {
		return nil, s.failure(op, id, err)
	}
	e.stage = t
	t.note(true)
	return t, nil
}

// open resumes the staging file, or makes a new one if there is none to be used.
func (t *Stage) open() error {
	name := t.s.dir.part(t.e.id)
	file, err := t.s.fs.OpenRW(name)
	if err == nil {
		if err = t.resume(file); err == nil {
			return nil
		}
		if err = errors.Join(file.Close(), t.s.fs.Remove(name)); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.header = fileHeader{id: t.e.id, fence: t.fence, birth: t.birth}
	if err := createWith(t.s.fs, name, appendFileHeader(nil, t.header)); err != nil {
		return err
	}
	if err := syncDir(t.s.fs, t.s.dir.staging()); err != nil {
		return err
	}
	if file, err = t.s.fs.OpenRW(name); err != nil {
		return err
	}
	t.idx = newIndex()
	if err := t.writeTo(file); err != nil {
		return errors.Join(err, file.Close())
	}
	return nil
}

// resume takes what verifies of a staging file and cuts the rest.
func (t *Stage) resume(file vfs.File) error {
	h, err := readFileHeader(file, t.e.id)
	if err == nil && h.stubs {
		err = fmt.Errorf("staged in a format that copies are not written in")
	}
	if err == nil && h.birth != t.birth {
		err = fmt.Errorf("staged of an extent born %08x, not %08x", h.birth, t.birth)
	}
	if err != nil {
		return err
	}
	got, err := scan(file, h, t.e.id, scanStaging)
	if err != nil {
		return err
	}
	if got.tornBytes > 0 {
		if err := file.Truncate(got.idx.endPos); err != nil {
			return err
		}
	}
	t.header, t.idx = h, got.idx
	return t.writeTo(file)
}

// note tells the extent about the staging file.
func (t *Stage) note(staged bool) {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	t.e.staged, t.e.partBytes = staged, 0
	if staged {
		t.e.partBytes = t.idx.endPos
	}
}

// end makes every later call fail. Waits for the one that is going on.
func (t *Stage) end(code Code, detail string) {
	t.ended.CompareAndSwap(nil, &Error{Op: "stage", Code: code, ID: t.e.id, Detail: detail})
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil && t.s.Failed() == nil {
		// What was appended is left in the file. If that fails a later stage has it sent again, and its own writes
		// tell what is wrong with the disk.
		_ = t.tail.Flush()
	}
	t.closeLocked()
}

func (t *Stage) closeLocked() {
	if t.file != nil {
		t.tail.Close()
		t.file.Close()
		t.file, t.tail = nil, nil
	}
}

// enter begins a call on the stage alone, leave ends it.
func (t *Stage) enter(op string) error {
	if err := t.s.enter(op, t.e.id); err != nil {
		return err
	}
	t.mu.Lock()
	if err := t.usableLocked(op); err != nil {
		t.leave()
		return err
	}
	return nil
}

func (t *Stage) leave() {
	t.mu.Unlock()
	t.s.leave()
}

func (t *Stage) usableLocked(op string) error {
	if err := t.ended.Load(); err != nil {
		return err
	}
	if err := t.s.Failed(); err != nil {
		return err
	}
	return t.s.checkFence(op, t.e.id, t.fence)
}

// Len is how many bytes are there.
func (t *Stage) Len() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.idx.end
}

// Commit makes the stage the extent's replica, sealed, if it has exactly length bytes and sum is
// their CRC32C; it verifies all of them. A replica that was there before is replaced, or moved to
// quarantine if it could not even be told to be this extent's, or was of another birth. When Commit
// returns nil the replica is durable. After an error the stage can be used on, unless the error says
// otherwise.
func (t *Stage) Commit(length uint64, sum uint32) error {
	const op = "commit"
	changes, err := t.verify(op, length, sum)
	if err != nil {
		return err
	}
	// The extent's lock comes before the stage's, and is not held while all is read: hence twice.
	e, err := t.s.change(op, t.e.id)
	if err != nil {
		return err
	}
	defer t.s.unchange(e)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usableLocked(op); err != nil {
		return err
	}
	if t.changes != changes {
		return &Error{Op: op, Code: CodeChanged, ID: e.id, Detail: "the stage changed during the call"}
	}
	if err := t.publishLocked(length, sum); err != nil {
		return t.s.failure(op, e.id, err)
	}
	t.s.noteSealed()
	return nil
}

// verify reads the whole stage and compares it with what it should be.
func (t *Stage) verify(op string, length uint64, sum uint32) (changes uint64, err error) {
	if err := t.enter(op); err != nil {
		return 0, err
	}
	defer t.leave()
	switch {
	case length > t.idx.end:
		return 0, errTooShort(op, t.e.id, length, t.idx.end)
	case length < t.idx.end:
		return 0, &Error{Op: op, Code: CodeWrongOffset, ID: t.e.id, Want: length, Have: t.idx.end,
			Detail: fmt.Sprintf("%d bytes staged, %d wanted", t.idx.end, length)}
	}
	got, err := t.sumLocked(op)
	if err != nil {
		return 0, err
	}
	if got != sum {
		return 0, &Error{Op: op, Code: CodeCorrupt, ID: t.e.id,
			Detail: fmt.Sprintf("the %d bytes have checksum %#08x, want %#08x", length, got, sum)}
	}
	return t.changes, nil
}

// Pace has Commit read what it verifies by way of do, a piece at a time. do calls piece once, when it is its turn, and
// returns its error; or it returns why it never was.
func (t *Stage) Pace(do func(piece func() error) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pace = do
}

// Hide has ranges, ascending and apart, read as deleted once the stage is committed: its source had punched them, and
// what was copied of them are zeros. That lasts until the store is closed; whoever commits punches them as well.
func (t *Stage) Hide(deleted []Range) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hide = deleted
}

func (t *Stage) pacedLocked(piece func() error) error {
	if t.pace == nil {
		return piece()
	}
	return t.pace(piece)
}

// sumLocked is the sum of all that is there. What was not summed when it came is read.
func (t *Stage) sumLocked(op string) (uint32, error) {
	if t.sum.end < t.idx.end {
		if err := t.flushLocked(op); err != nil {
			return 0, err
		}
	}
	r := reader{s: t.s, file: t.file, id: t.e.id, find: t.idx.find}
	buf := make([]byte, min(readWindowBytes, t.idx.end-t.sum.end))
	for t.sum.end < t.idx.end {
		if err := t.ended.Load(); err != nil {
			return 0, err
		}
		step := buf[:min(uint64(len(buf)), t.idx.end-t.sum.end)]
		if err := t.pacedLocked(func() error {
			if _, bad := r.read(op, step, t.sum.end); bad != nil {
				return bad
			}
			return nil
		}); err != nil {
			return 0, err
		}
		t.sum.add(crc32c.Sum(step), len(step))
	}
	return t.sum.sum, nil
}

// publishLocked puts the verified file in the replica's place. The caller holds the extent's write
// lock too.
func (t *Stage) publishLocked(length uint64, sum uint32) error {
	s, e := t.s, t.e
	if err := t.tail.Flush(); err != nil {
		return t.backLocked(err)
	}
	next := state{present: true, sealed: true, created: t.header.fence, birth: t.header.birth, idx: t.idx, hidden: t.hide}
	end := AppendRecord(nil, e.id, Record{Offset: length, Floor: length})
	next.idx.add(length, 0, t.idx.endPos)
	end = append(end, next.finish(e.id, &verified{sum: sum})...)
	if err := writeEnd(t.file, end, t.idx.endPos); err != nil {
		return err
	}
	if err := syncFile(t.file); err != nil {
		return err
	}
	if err := s.ensureFan(s.dir.fan(e.id)); err != nil {
		return err
	}
	e.use.Lock()
	defer e.use.Unlock()
	if why := e.snapshot().alien(t.birth); why != "" {
		if err := s.moveAside(e, "replaced by a repair; was: "+why); err != nil {
			return err
		}
		e.mu.Lock()
		e.replaceLocked(state{idx: newIndex()})
		e.mu.Unlock()
	}
	s.files.forget(s.dir.extent(e.id))
	if err := s.fs.Rename(s.dir.part(e.id), s.dir.extent(e.id)); err != nil {
		return err
	}
	if err := removeIfThere(s.fs, s.dir.tail(e.id)); err != nil {
		return distrust(err)
	}
	for _, dir := range []string{s.dir.fan(e.id), s.dir.staging()} {
		if err := syncDir(s.fs, dir); err != nil {
			return err
		}
	}
	t.ended.Store(&Error{Op: "stage", Code: CodeClosed, ID: e.id, Detail: "it was committed"})
	t.closeLocked()
	e.stage = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	e.staged, e.partBytes = false, 0
	e.replaceLocked(next)
	return nil
}

// alien says why what is there may not be lost with the replica of that birth that replaces it; empty if it may.
func (st state) alien(birth Birth) string {
	switch {
	case !st.present:
		return ""
	case st.broken != nil:
		return st.broken.Error()
	case !st.birth.mayBe(birth):
		return fmt.Sprintf("of another extent, born %08x", st.birth)
	}
	return ""
}

// Discard ends the stage and removes its file, durably.
func (t *Stage) Discard() error {
	const op = "discard"
	e, err := t.s.change(op, t.e.id)
	if err != nil {
		return err
	}
	defer t.s.unchange(e)
	if err := t.ended.Load(); err != nil {
		return err
	}
	t.end(CodeClosed, "it was discarded")
	e.stage = nil
	err = removeIfThere(t.s.fs, t.s.dir.part(e.id))
	if err == nil {
		err = syncDir(t.s.fs, t.s.dir.staging())
	}
	if err != nil {
		return t.s.failure(op, e.id, err)
	}
	t.note(false)
	return nil
}

// Close ends the stage and leaves its file, for a later Stage to go on with. It is safe to call at any
// time, also after Commit and Discard.
func (t *Stage) Close() error {
	t.end(CodeClosed, "it was closed")
	return nil
}
