package extent

import (
	"fmt"
	"slices"

	"github.com/datanode/datanode/node/internal/vfs"
)

const (
	// streamSyncBytes is how much a stream takes in between syncs: what a crash may lose of it, and what is read and
	// written again when the store is opened after one.
	streamSyncBytes = 16 << 20
	// streamSyncParts bounds how many appends are taken in between, however small they are.
	streamSyncParts = 4096
)

// Stream appends to an open extent bytes that nobody is told of before the end, so that they need no sync each.
//
// Goal. A large object costs its replicas one write of its bytes, past the system's cache where the disk has that
// (vfs.Tail), and a sync for each 16 MiB, instead of a sync for each piece.
//
// Invariants.
//   - What the extent has (Info.Length, reads, seals) is durable, as with Append: what a stream was given counts only
//     once a sync has ended well. What it is given in between is in memory or in the file behind the extent's end.
//   - Nothing of a stream is acknowledged before Sync has returned on all replicas, so its records carry the floor that
//     was acknowledged before it. That a part of it is durable here proves nothing about the others, and no seal is
//     bound by it.
//   - How far it is durable here is said by a mark after each sync, which the next one makes durable: so a crash costs
//     a read of what came after the last, not of all. Marks prove nothing to a seal.
//   - Any other change of the extent ends the stream, and what it was given is made durable first: a fence that is
//     raised for a seal is answered with a length that stays, and the writer can read back all that it was told is
//     here. A full disk cuts the file to what is durable instead.
//
// Rejected: to let reads and seals see what is not synced yet. A seal could then choose a length that a crash takes
// away. Rejected: floors from the records that are durable here alone; see the second invariant.
type Stream struct {
	s     *Store
	e     *extent
	fence Fence
	floor uint64

	// Owned by extent.write.
	h     *handle
	tail  *vfs.Tail
	parts []int  // lengths of what came since the last sync, 0 for a mark
	end   uint64 // with those
	ended error  // why it takes no more; nil while it does
}

// Stream begins to append at offset, which must be the extent's length; all before it must be acknowledged. There is
// one stream of an extent at a time.
func (s *Store) Stream(id ID, fence Fence, offset uint64) (*Stream, error) {
	const op = "stream"
	e, err := s.change(op, id)
	if err != nil {
		return nil, err
	}
	defer s.unchange(e)
	if err := s.checkFence(op, id, fence); err != nil {
		return nil, err
	}
	st := e.snapshot()
	if err := st.appendable(op, id, offset); err != nil {
		return nil, err
	}
	name := s.dir.extent(id)
	h, err := s.files.acquire(name, false)
	if err != nil {
		return nil, errOpen(op, id, err)
	}
	if err := s.cutFooter(op, e, h.file, st); err != nil {
		s.files.release(h)
		return nil, err
	}
	tail, err := vfs.NewTail(s.fs, name, h.file, st.idx.endPos)
	if err != nil {
		s.files.release(h)
		return nil, errOpen(op, id, err)
	}
	t := &Stream{s: s, e: e, fence: fence, floor: offset, h: h, tail: tail, end: offset}
	e.stream = t
	return t, nil
}

// enter begins a call. The caller calls leave unless err is set.
func (t *Stream) enter(op string) error {
	if err := t.s.enter(op, t.e.id); err != nil {
		return err
	}
	t.e.write.Lock()
	err := t.s.Failed()
	if err == nil {
		err = t.ended
	}
	if err == nil {
		err = t.s.checkFence(op, t.e.id, t.fence)
	}
	if err != nil {
		t.leave()
	}
	return err
}

func (t *Stream) leave() {
	t.e.write.Unlock()
	t.s.leave()
}

// Append adds p behind all that came before. It is there, and durable, after Sync.
func (t *Stream) Append(p []byte) error {
	const op = "stream append"
	if err := t.enter(op); err != nil {
		return err
	}
	defer t.leave()
	first := t.end
	for left := p; len(left) > 0; {
		k := min(len(left), MaxRecordBytes)
		if err := t.put(Record{Offset: t.end, Floor: t.floor, Payload: left[:k]}); err != nil {
			return t.fail(op, err)
		}
		left, t.end = left[k:], t.end+uint64(k)
	}
	if t.end > first {
		t.parts = append(t.parts, len(p))
	}
	if t.end-t.shown() < streamSyncBytes && len(t.parts) < streamSyncParts {
		return nil
	}
	return t.sync(op, true)
}

// shown is how much of the extent counts, and is durable.
func (t *Stream) shown() uint64 {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	return t.e.idx.end
}

func (t *Stream) put(r Record) error {
	room, err := t.tail.Room(recordHeaderBytes + len(r.Payload))
	if err == nil {
		t.tail.Add(len(AppendRecord(room, t.e.id, r)))
	}
	return err
}

// Sync makes all that was added durable, and part of the extent. More may be added then.
func (t *Stream) Sync() error {
	const op = "stream sync"
	if err := t.enter(op); err != nil {
		return err
	}
	defer t.leave()
	return t.sync(op, false)
}

// sync is Sync under extent.write. With a mark behind it, more is to come.
func (t *Stream) sync(op string, more bool) error {
	if len(t.parts) == 0 {
		return nil
	}
	if err := t.tail.Flush(); err != nil {
		return t.fail(op, err)
	}
	if err := syncFile(t.h.file); err != nil {
		return t.fail(op, err)
	}
	e := t.e
	e.mu.Lock()
	for _, n := range t.parts {
		if n == 0 {
			e.idx.add(e.idx.end, 0, e.idx.endPos)
		} else {
			e.idx.addAll(n)
		}
	}
	e.marked, e.fileBytes = false, e.idx.endPos
	e.mu.Unlock()
	t.parts = t.parts[:0]
	if !more {
		return nil
	}
	if err := t.put(Record{Offset: t.end, Floor: t.end}); err != nil {
		return t.fail(op, err)
	}
	t.parts = append(t.parts, 0)
	return nil
}

// fail ends the stream for an error of the disk. A full one has the file cut to what is durable.
func (t *Stream) fail(op string, err error) error {
	if !isDistrusted(err) {
		err = undoWrite(t.h.file, t.e.snapshot().idx.endPos, err)
	}
	err = t.s.failure(op, t.e.id, err)
	t.close(err)
	return err
}

// settle ends the stream because of another change of the extent, with all that it was given durable.
func (t *Stream) settle() {
	if err := t.sync("stream", false); err != nil {
		return // it has ended, and whoever uses it will hear why
	}
	t.close(&Error{Op: "stream", Code: CodeClosed, ID: t.e.id,
		Detail: fmt.Sprintf("something else changed the extent after %d bytes", t.end)})
}

// close lets go of the file. The caller holds extent.write, or nobody else can.
func (t *Stream) close(why error) {
	t.ended = why
	t.tail.Close()
	t.s.files.release(t.h)
	t.parts = slices.Clip(t.parts[:0])
	t.e.stream = nil
}

// Close ends the stream; what it was given is durable and part of the extent, unless an earlier error says
// otherwise. It is safe to call at any time, and any number of times.
func (t *Stream) Close() error {
	if err := t.s.enter("stream close", t.e.id); err != nil {
		return err // the store has closed it
	}
	defer t.s.leave()
	t.e.write.Lock()
	defer t.e.write.Unlock()
	if t.ended != nil {
		return nil
	}
	err := t.s.Failed()
	if err == nil {
		t.settle()
		return t.s.Failed()
	}
	t.close(err)
	return err
}
