package extent

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/datanode/datanode/node/internal/vfs"
)

// Options of a store. The zero value is what a node uses.
type Options struct {
	// OpenFiles bounds the files kept open; 0 means 512.
	OpenFiles int
	// VerifyAll makes Open read every payload, not only those that may have been lost in a crash.
	VerifyAll bool
}

// Store holds the extent replicas of one disk. See the package comment for its locks.
type Store struct {
	fs      vfs.FS
	dir     folder
	lock    io.Closer
	files   *handles
	fences  *fences
	buffers sync.Pool // of *[]byte, batchFileBytes long

	life   sync.RWMutex
	closed bool // owned by life
	failed atomic.Pointer[Error]

	mu      sync.Mutex
	extents map[ID]*extent
	fans    map[string]bool // folders under extents/ that exist
}

// extent is what is known of one extent.
type extent struct {
	id   ID
	pins int // calls that hold it; owned by Store.mu

	write sync.Mutex // see the package comment
	use   sync.RWMutex
	stage *Stage // the one that may commit; owned by write

	mu sync.Mutex
	state
}

// state is the part of an extent that extent.mu owns.
type state struct {
	present    bool // there is an extent file
	sealed     bool
	marked     bool   // the file ends with a mark
	broken     error  // why nothing in the file can be used; nil if it can
	created    Fence  // of the file header
	generation uint64 // grows when the file is cut, replaced or removed
	idx        index
	fileBytes  int64

	staged    bool // there is a staging file
	partBytes int64
}

// Range is the bytes [From, To) of an extent.
type Range struct{ From, To uint64 }

// Info is what Stat tells.
type Info struct {
	ID            ID
	Present       bool   // there is a replica; false if there is only a staging file
	Length        uint64 // durable
	Sealed        bool   // by Seal or Commit since Open
	Staging       bool   // there is a staging file
	PhysicalBytes int64  // of the replica's file
	StagingBytes  int64
	Created       Fence   // of the file: by Create, or by the Stage it came from
	Highest       Fence   // of the extent
	Damaged       []Range // found damaged by Open
	Broken        string  // why the whole file cannot be used; empty if it can
}

// Usage is what a store holds.
type Usage struct {
	Extents       int
	LogicalBytes  uint64
	PhysicalBytes int64
	StagingFiles  int
	StagingBytes  int64
}

// Failed is non-nil once a sync or a write has failed for a reason other than a full disk: the
// error that every change fails with from then on. Reads go on.
func (s *Store) Failed() error {
	if e := s.failed.Load(); e != nil {
		return e
	}
	return nil
}

// enter begins a call; leave ends it. Close waits in between.
func (s *Store) enter(op string, id ID) error {
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return &Error{Op: op, Code: CodeClosed, ID: id, Detail: "the store is closed"}
	}
	return nil
}

func (s *Store) leave() { s.life.RUnlock() }

// change begins a call that changes one extent: it enters, checks the disk, pins the extent and takes
// its write lock. The caller calls unchange unless err is set.
func (s *Store) change(op string, id ID) (*extent, error) {
	if err := s.enter(op, id); err != nil {
		return nil, err
	}
	e := s.pin(id)
	e.write.Lock()
	if err := s.Failed(); err != nil {
		s.unchange(e)
		return nil, err
	}
	return e, nil
}

func (s *Store) unchange(e *extent) {
	e.write.Unlock()
	s.unpin(e)
	s.leave()
}

// pin finds or makes the entry of an extent, and keeps it in the map until unpin.
func (s *Store) pin(id ID) *extent {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.extents[id]
	if e == nil {
		e = &extent{id: id}
		e.idx = newIndex()
		s.extents[id] = e
	}
	e.pins++
	return e
}

func (s *Store) unpin(e *extent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.pins--; e.pins > 0 {
		return
	}
	if st := e.snapshot(); !st.present && !st.staged {
		delete(s.extents, e.id)
	}
}

// snapshot is a copy of an extent's state, whose index must not be changed or searched.
func (e *extent) snapshot() state {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state
}

// failure turns an error of the disk into the store's: no space, from now on a failed disk, or a call
// that did nothing.
func (s *Store) failure(op string, id ID, err error) error {
	if !errors.Is(err, errSyncFailed) {
		code := CodeIO
		if vfs.IsNoSpace(err) {
			code = CodeNoSpace
		}
		return &Error{Op: op, Code: code, ID: id, Err: err}
	}
	s.failed.CompareAndSwap(nil, &Error{Op: op, Code: CodeDiskFailed, ID: id, Err: err,
		Detail: "nothing is written any more"})
	return s.Failed()
}

func (s *Store) checkFence(op string, id ID, fence Fence) error {
	if highest := s.fences.get(id); fence < highest {
		return errStale(op, id, highest, fence)
	}
	return nil
}

// raise persists a fence. The caller holds the extent's write lock.
func (s *Store) raise(op string, id ID, fence Fence) error {
	highest := s.fences.get(id)
	if fence < highest {
		return errStale(op, id, highest, fence)
	}
	if fence == highest {
		return nil
	}
	if err := s.fences.put(id, fence); err != nil {
		return s.failure(op, id, err)
	}
	return nil
}

// RaiseFence makes every later call for the extent under a lower fence fail, durably so. When it
// returns, an append under a lower fence has either ended or will be refused. The extent need not
// exist. A lower fence than the highest is refused with CodeStaleFence.
func (s *Store) RaiseFence(id ID, fence Fence) error {
	const op = "raise fence"
	e, err := s.change(op, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	return s.raise(op, id, fence)
}

// ForgetFence drops the fence of an extent that has no replica here and never will again: fences
// would otherwise stay forever.
func (s *Store) ForgetFence(id ID) error {
	const op = "forget fence"
	e, err := s.change(op, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	if st := e.snapshot(); st.present || st.staged {
		return &Error{Op: op, Code: CodeExists, ID: id, Detail: "there is a replica"}
	}
	if s.fences.get(id) == 0 {
		return nil
	}
	if err := s.fences.put(id, 0); err != nil {
		return s.failure(op, id, err)
	}
	return nil
}

// Create makes an empty extent, durably, and raises the fence. Under the fence that it was created
// with before, it does nothing.
func (s *Store) Create(id ID, fence Fence) error {
	const op = "create"
	e, err := s.change(op, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	if err := s.raise(op, id, fence); err != nil {
		return err
	}
	if st := e.snapshot(); st.present {
		if st.broken == nil && st.created == fence {
			return nil
		}
		return &Error{Op: op, Code: CodeExists, ID: id, Want: uint64(st.created), Have: uint64(fence),
			Detail: fmt.Sprintf("made under fence %d, asked for under %d", st.created, fence)}
	}
	if err := s.createFile(s.dir.extent(id), s.dir.fan(id), fileHeader{id: id, fence: fence}); err != nil {
		return s.failure(op, id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.replaceLocked(state{present: true, created: fence, idx: newIndex(), fileBytes: fileHeaderBytes})
	return nil
}

// replaceLocked sets what is known of the extent file, and leaves the staging file alone.
func (e *extent) replaceLocked(next state) {
	next.generation = e.generation + 1
	next.staged, next.partBytes = e.staged, e.partBytes
	e.state = next
}

// createFile makes an extent file of a header alone, durably. If the disk is full it leaves nothing.
func (s *Store) createFile(name, dir string, h fileHeader) error {
	if err := s.ensureFan(dir); err != nil {
		return err
	}
	if err := createWith(s.fs, name, appendFileHeader(nil, h)); err != nil {
		return err
	}
	return syncDir(s.fs, dir)
}

// ensureFan makes a folder under extents/ when it is first needed.
func (s *Store) ensureFan(dir string) error {
	s.mu.Lock()
	there := s.fans[dir]
	s.mu.Unlock()
	if there {
		return nil
	}
	if err := s.fs.MkdirAll(dir); err != nil {
		return err
	}
	s.mu.Lock()
	s.fans[dir] = true
	s.mu.Unlock()
	return nil
}

// Stat tells what is known of an extent. CodeNotFound if there is neither a replica nor a staging file.
func (s *Store) Stat(id ID) (Info, error) {
	const op = "stat"
	if err := s.enter(op, id); err != nil {
		return Info{}, err
	}
	defer s.leave()
	e := s.pin(id)
	defer s.unpin(e)
	st := e.snapshot()
	if !st.present && !st.staged {
		return Info{}, errNotFound(op, id)
	}
	info := Info{ID: id, Present: st.present, Length: st.idx.end, Sealed: st.sealed, Staging: st.staged,
		PhysicalBytes: st.fileBytes, StagingBytes: st.partBytes, Created: st.created, Highest: s.fences.get(id)}
	for _, g := range st.idx.gaps {
		info.Damaged = append(info.Damaged, Range{g.from, g.to})
	}
	if st.broken != nil {
		info.Broken = st.broken.Error()
	}
	return info, nil
}

// Fence is the highest fence seen for an extent, 0 for none.
func (s *Store) Fence(id ID) Fence { return s.fences.get(id) }

// IDs lists the extents that have a replica, ascending.
func (s *Store) IDs() []ID {
	return s.list(func(st *state) bool { return st.present })
}

// Staged lists the extents that have a staging file, ascending.
func (s *Store) Staged() []ID {
	return s.list(func(st *state) bool { return st.staged })
}

func (s *Store) list(want func(*state) bool) []ID {
	ids := []ID{}
	for _, e := range s.all() {
		if st := e.snapshot(); want(&st) {
			ids = append(ids, e.id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *Store) all() []*extent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*extent, 0, len(s.extents))
	for _, e := range s.extents {
		all = append(all, e)
	}
	return all
}

// Usage adds up what the store holds.
func (s *Store) Usage() Usage {
	var u Usage
	for _, e := range s.all() {
		st := e.snapshot()
		if st.present {
			u.Extents++
			u.LogicalBytes += st.idx.end
			u.PhysicalBytes += st.fileBytes
		}
		if st.staged {
			u.StagingFiles++
			u.StagingBytes += st.partBytes
		}
	}
	return u
}

// Close waits for the calls in flight and closes the files. Everything acknowledged is durable
// already; a staging file keeps what the system has written of it.
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, e := range s.all() {
		if e.stage != nil {
			e.stage.end(CodeClosed, "the store is closed")
		}
	}
	s.files.closeAll()
	return errors.Join(s.fences.file.Close(), s.lock.Close())
}
