package extent

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/datanode/datanode/node/internal/vfs"
)

// fenceRecordBytes is the size of a record in the fences file. The last record of an extent counts.
//
//	 0              8              16          20         24
//	+--------------+--------------+-----------+----------+
//	| extent ID    | fence        | floor     | CRC32C   |
//	|              | 0: forgotten | (records) | of 0-19  |
//	+--------------+--------------+-----------+----------+
//
// floor is how many records were durable when this one was written: as in extent files it tells a
// torn tail from rot. It wraps at 2^32 records, 96 GiB; compaction at Open keeps the file far from that.
const fenceRecordBytes = 24

// fenceCompactRecords: the file is rewritten when it has at least so many records, and more than
// twice as many as there are fences; so it is bounded by the extents that there are.
const fenceCompactRecords = 1024

type fenceRecord struct {
	id    ID
	fence Fence
	floor uint32
}

func appendFenceRecord(buf []byte, r fenceRecord) []byte {
	start := len(buf)
	le := binary.LittleEndian
	buf = le.AppendUint64(buf, uint64(r.id))
	buf = le.AppendUint64(buf, uint64(r.fence))
	buf = le.AppendUint32(buf, r.floor)
	// The inverse, so that a run of zeros is not a valid record.
	return le.AppendUint32(buf, ^crc32.Checksum(buf[start:], castagnoli))
}

func parseFenceRecord(buf []byte) (rest []byte, r fenceRecord, err error) {
	if len(buf) < fenceRecordBytes {
		return buf, r, fmt.Errorf("fence record has %d bytes, want %d", len(buf), fenceRecordBytes)
	}
	le := binary.LittleEndian
	if got, want := ^crc32.Checksum(buf[:20], castagnoli), le.Uint32(buf[20:]); got != want {
		return buf, r, fmt.Errorf("fence record has checksum %#x, says %#x", got, want)
	}
	r = fenceRecord{id: ID(le.Uint64(buf)), fence: Fence(le.Uint64(buf[8:])), floor: le.Uint32(buf[16:])}
	return buf[fenceRecordBytes:], r, nil
}

// fences keeps the highest fence of each extent, on disk before in memory.
type fences struct {
	fs   vfs.FS
	dir  folder
	room func() bool // Options.MakeRoom
	file vfs.File    // written, and replaced, by the leader of a batch alone

	mu      sync.Mutex
	highest map[ID]Fence // durable ones
	records uint32       // durable ones in the file
	tried   uint32       // how many there were when the file was last to be rewritten and could not be
	next    *fenceBatch  // collects, while another is being written; nil if nobody waits
	writing bool
	err     error // once set, nothing is written any more
}

// fenceBatch is what shares one sync.
type fenceBatch struct {
	raised []fenceRecord
	lead   chan struct{} // holds one token once a caller of this batch is to write it
	done   chan struct{}
	err    error // valid once done is closed
}

func (f *fences) get(id ID) Fence {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.highest[id]
}

// put makes a fence durable; 0 forgets the extent. The caller keeps calls for one extent apart. Who
// comes while a batch is written waits in the next one, which one of them then writes for all.
func (f *fences) put(id ID, fence Fence) error {
	f.mu.Lock()
	if f.next == nil {
		f.next = &fenceBatch{lead: make(chan struct{}, 1), done: make(chan struct{})}
	}
	batch := f.next
	batch.raised = append(batch.raised, fenceRecord{id: id, fence: fence})
	if f.writing {
		f.mu.Unlock()
		select {
		case <-batch.done:
			return batch.err
		case <-batch.lead:
		}
		f.mu.Lock()
	}
	f.writing = true
	f.commitLocked()
	f.shrinkLocked()
	if f.next != nil {
		f.next.lead <- struct{}{} // and writing stays true
	} else {
		f.writing = false
	}
	f.mu.Unlock()
	return batch.err
}

// commitLocked writes the batch that has collected. It lets go of mu meanwhile.
func (f *fences) commitLocked() {
	batch, floor, err := f.next, f.records, f.err
	f.next = nil
	f.mu.Unlock()
	if err == nil {
		err = within(f.room, func() error { return f.write(batch.raised, floor) })
	}
	f.mu.Lock()
	if batch.err = err; err == nil {
		f.records += uint32(len(batch.raised))
		for _, r := range batch.raised {
			f.setLocked(r)
		}
	} else if !vfs.IsNoSpace(err) || errors.Is(err, errSyncFailed) {
		f.err = err
	}
	close(batch.done)
}

// shrinkLocked rewrites the file if much of it is outdated. It lets go of mu meanwhile; the caller is the one that
// writes. For want of space the old file stays, and nothing is lost.
func (f *fences) shrinkLocked() {
	if f.err != nil || !f.outdatedLocked() {
		return
	}
	all := maps.Clone(f.highest)
	f.mu.Unlock()
	err := f.compact(all)
	f.mu.Lock()
	switch {
	case err == nil:
		f.tried = 0
	case vfs.IsNoSpace(err) && !errors.Is(err, errSyncFailed):
		f.tried = f.records
	default:
		f.err = distrust(err)
	}
}

func (f *fences) outdatedLocked() bool {
	return f.records >= f.tried+fenceCompactRecords && int(f.records) > 2*len(f.highest)
}

func (f *fences) setLocked(r fenceRecord) {
	if r.fence == 0 {
		delete(f.highest, r.id)
	} else {
		f.highest[r.id] = r.fence
	}
}

func (f *fences) write(raised []fenceRecord, floor uint32) error {
	buf := make([]byte, 0, len(raised)*fenceRecordBytes)
	for _, r := range raised {
		r.floor = floor
		buf = appendFenceRecord(buf, r)
	}
	pos := int64(floor) * fenceRecordBytes
	if _, err := f.file.WriteAt(buf, pos); err != nil {
		return undoWrite(f.file, pos, err)
	}
	return syncFile(f.file)
}

// openFences reads the fences, and rewrites the file if much of it is outdated. lost counts damaged
// records that had been durable.
func openFences(fs vfs.FS, dir folder, room func() bool) (f *fences, lost int, err error) {
	file, err := openOrCreate(fs, dir.fences())
	if err != nil {
		return nil, 0, err
	}
	f = &fences{fs: fs, dir: dir, room: room, file: file, highest: map[ID]Fence{}}
	buf, err := readWhole(file)
	if err == nil {
		lost = f.load(buf)
		err = file.Truncate(int64(f.records) * fenceRecordBytes)
	}
	if err == nil {
		err = syncFile(file)
	}
	if err == nil {
		err = syncDir(fs, string(dir))
	}
	if err == nil {
		f.mu.Lock()
		f.shrinkLocked()
		err = f.err
		f.mu.Unlock()
	}
	if err != nil {
		f.file.Close()
		return nil, 0, err
	}
	return f, lost, nil
}

// load reads every record. Those after the floor that are invalid, and all that follow them, were
// never acknowledged; an invalid one below the floor is lost.
func (f *fences) load(buf []byte) (lost int) {
	n := uint32(len(buf) / fenceRecordBytes)
	at := func(i uint32) (fenceRecord, error) {
		_, r, err := parseFenceRecord(buf[int64(i)*fenceRecordBytes:])
		return r, err
	}
	floor := uint32(0)
	for i := range n {
		if r, err := at(i); err == nil && r.floor <= i {
			floor = max(floor, r.floor)
		}
	}
	for i := range n {
		r, err := at(i)
		if err != nil && i >= floor {
			break
		}
		f.records++
		if err != nil {
			lost++
			continue
		}
		f.setLocked(r)
	}
	return lost
}

// compact writes the fences to a new file and puts it, durably, in the place of the old one.
func (f *fences) compact(highest map[ID]Fence) error {
	if err := removeIfThere(f.fs, f.dir.fencesTmp()); err != nil {
		return err
	}
	file, err := f.fs.Create(f.dir.fencesTmp())
	if err != nil {
		return err
	}
	fresh := &fences{file: file}
	all := make([]fenceRecord, 0, len(highest))
	for id, fence := range highest {
		all = append(all, fenceRecord{id: id, fence: fence})
	}
	slices.SortFunc(all, func(a, b fenceRecord) int { return cmp.Compare(a.id, b.id) })
	if err := fresh.write(all, 0); err != nil {
		return errors.Join(err, file.Close(), removeIfThere(f.fs, f.dir.fencesTmp()))
	}
	if err := f.fs.Rename(f.dir.fencesTmp(), f.dir.fences()); err != nil {
		return errors.Join(err, file.Close())
	}
	// Before anything is written to it: with its name lost in a crash, so would be what it was told since.
	if err := syncDir(f.fs, string(f.dir)); err != nil {
		return errors.Join(err, file.Close())
	}
	old := f.file
	f.mu.Lock()
	f.file, f.records = file, uint32(len(all))
	f.mu.Unlock()
	return old.Close()
}

func readWhole(file vfs.File) ([]byte, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	if n, err := file.ReadAt(buf, 0); err != nil && (!errors.Is(err, io.EOF) || n < len(buf)) {
		return nil, err
	}
	return buf, nil
}
