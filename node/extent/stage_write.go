package extent

import (
	"errors"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/internal/vfs"
)

const (
	// stageSyncBytes is how much a stage takes in between syncs, so that Commit is not one long one, and
	// directSyncBytes where the bytes are on the disk already: a sync has only the file's size to write there.
	stageSyncBytes  = 16 << 20
	directSyncBytes = 64 << 20
	// StageBytes is how much memory a stage has: what it puts together to be written. Commit gives that to nobody while
	// it reads what an earlier stage has left, in windows of readWindowBytes.
	StageBytes = vfs.TailBytes + readWindowBytes
)

// summed is what is known of the sum of a stage's first bytes.
type summed struct {
	end uint64
	sum uint32
}

func (s *summed) add(sum uint32, n int) {
	s.end, s.sum = s.end+uint64(n), crc32c.Combine(s.sum, sum, int64(n))
}

// durable is where a stage's file ended when it was synced.
type durable struct {
	end uint64
	pos int64
	sum summed // Invariant: sum.end <= end
}

// writeTo begins to append to file, which ends as idx says. On an error it is the caller's still.
func (t *Stage) writeTo(file vfs.File) error {
	tail, err := vfs.NewTail(t.s.fs, t.s.dir.part(t.e.id), file, t.idx.endPos)
	if err != nil {
		return err
	}
	t.file, t.tail = file, tail
	t.durable.pos = fileHeaderBytes
	return nil
}

// Append adds p. It is durable only after Commit. After CodeNoSpace the stage has what it had at its last sync.
func (t *Stage) Append(p []byte) error {
	const op = "stage append"
	if err := t.enter(op); err != nil {
		return err
	}
	defer t.leave()
	return t.appendLocked(op, p)
}

func (t *Stage) appendLocked(op string, p []byte) error {
	t.changes++
	for len(p) > 0 {
		k := min(len(p), MaxRecordBytes)
		room, err := t.tail.Room(recordHeaderBytes + k)
		if err != nil {
			return t.s.failure(op, t.e.id, t.backLocked(err))
		}
		sum := crc32c.Sum(p[:k])
		record := appendSummed(room, t.e.id, Record{Offset: t.idx.end, Floor: t.durable.end, Payload: p[:k]}, sum)
		t.tail.Add(len(record))
		if t.sum.end == t.idx.end {
			t.sum.add(sum, k)
		}
		t.idx.addAll(k)
		p = p[k:]
	}
	t.note(true)
	if t.idx.end-t.durable.end < t.syncBytesLocked() {
		return nil
	}
	return t.syncLocked(op)
}

func (t *Stage) syncBytesLocked() uint64 {
	if t.tail.Direct() {
		return directSyncBytes
	}
	return stageSyncBytes
}

// backLocked answers a write that has failed. If the disk is full the stage goes back to what is durable: of what came
// after that some may be in the file, and some not. Synced, or remains of it could turn up after a crash.
func (t *Stage) backLocked(err error) error {
	if !vfs.IsNoSpace(err) {
		return distrust(err)
	}
	if cutErr := t.cutLocked(t.durable.end, t.durable.pos); cutErr != nil {
		return distrust(errors.Join(err, cutErr))
	}
	if cutErr := t.file.Sync(); cutErr != nil {
		return distrust(errors.Join(err, cutErr))
	}
	t.note(true)
	return err
}

// cutLocked cuts the stage to its first end bytes, behind which pos is in the file.
func (t *Stage) cutLocked(end uint64, pos int64) error {
	if err := t.file.Truncate(pos); err != nil {
		return err
	}
	t.idx.cut(end, pos)
	if t.durable.end > end {
		t.durable = durable{end: end, pos: pos}
	}
	if t.sum.end > end {
		t.sum = t.durable.sum
	}
	t.tail.Close()
	tail, err := vfs.NewTail(t.s.fs, t.s.dir.part(t.e.id), t.file, pos)
	if err != nil {
		return err
	}
	t.tail = tail
	return nil
}

// Unsynced is how many bytes are there that are not known to be durable.
func (t *Stage) Unsynced() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.idx.end - t.durable.end
}

// Direct reports whether what is appended goes past the system's cache, so that a sync has little to write.
func (t *Stage) Direct() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tail != nil && t.tail.Direct()
}

// Sync makes durable what is there, so that a later sync has less to do.
func (t *Stage) Sync() error {
	const op = "stage sync"
	if err := t.enter(op); err != nil {
		return err
	}
	defer t.leave()
	return t.syncLocked(op)
}

func (t *Stage) syncLocked(op string) error {
	if err := t.flushLocked(op); err != nil {
		return err
	}
	if err := syncFile(t.file); err != nil {
		return t.s.failure(op, t.e.id, err)
	}
	t.durable = durable{end: t.idx.end, pos: t.idx.endPos, sum: t.sum}
	return nil
}

// flushLocked writes all that was appended, so that it can be read and synced.
func (t *Stage) flushLocked(op string) error {
	if err := t.tail.Flush(); err != nil {
		return t.s.failure(op, t.e.id, t.backLocked(err))
	}
	return nil
}

// Truncate cuts the stage to n bytes.
func (t *Stage) Truncate(n uint64) error {
	const op = "stage truncate"
	if err := t.enter(op); err != nil {
		return err
	}
	defer t.leave()
	if n > t.idx.end {
		return errTooShort(op, t.e.id, n, t.idx.end)
	}
	if n == t.idx.end {
		return nil
	}
	t.changes++
	if err := t.flushLocked(op); err != nil {
		return err
	}
	r := reader{s: t.s, file: t.file, id: t.e.id, find: t.idx.find}
	last, pos, bad := r.before(op, n)
	if bad != nil {
		return bad
	}
	if err := t.cutLocked(last.Offset, pos); err != nil {
		return t.s.failure(op, t.e.id, distrust(err))
	}
	return t.appendLocked(op, last.Payload)
}
