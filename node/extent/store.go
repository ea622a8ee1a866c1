package extent

import (
	"errors"
	"io"
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
	// MakeRoom is called when the disk is full and something must be written that takes nothing but little room and
	// may give some back: fences, the end of a seal, notes. It reports whether there is room now. nil: there never is.
	MakeRoom func() bool
}

// Store holds the extent replicas of one disk. See the package comment for its locks.
type Store struct {
	fs      vfs.FS
	dir     folder
	lock    io.Closer
	files   *handles
	fences  *fences
	buffers sync.Pool // of *[]byte, writeBytes long at most
	room    func() bool

	life   sync.RWMutex
	closed bool // owned by life
	failed atomic.Pointer[Error]

	mu      sync.Mutex
	extents map[ID]*extent  // those that are awake, or about to be
	asleep  asleep          // all others
	fans    map[string]bool // folders under extents/ that exist

	rewriting sync.Mutex // held for a whole Rewrite, and taken before all others

	catalogue catalogue
	maxAwake  int // maxAwake, fewer in tests
	verifyAll bool
}

// extent is what is known of one extent.
type extent struct {
	id   ID
	pins int // calls that hold it; owned by Store.mu

	waking waking     // see wake.go
	write  sync.Mutex // see the package comment
	use    sync.RWMutex
	stage  *Stage  // the one that may commit; owned by write
	stream *Stream // the one that may append; owned by write

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
	birth      Birth  // likewise
	acked      uint64 // how much is known to be acknowledged. Invariant: <= what the writer has acknowledged
	cut        bool   // Open has found its end unsound, and nothing has settled since what that end was
	loose      bool   // what Open would have cut is still in the file: there was no room to put it aside
	generation uint64 // grows when the file is cut, replaced or removed
	idx        index
	fileBytes  int64

	footerBytes int64   // of the file, behind the records; 0: there is no footer
	summed      bool    // sum is that of all bytes, which were read when it was taken
	sum         uint32  // CRC32C
	punched     []Range // what Punch has taken: ascending and apart. Never written to, only replaced
	stubs       bool    // the file may have stubs: it was rewritten
	stubBytes   uint64  // of the extent, that stubs stand for
	hidden      []Range // is not read either: of a copy of what was punched, before it is punched too. Likewise

	staged    bool // there is a staging file
	partBytes int64
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
	e, err := s.use(op, id)
	if err != nil {
		s.leave()
		return nil, err
	}
	e.write.Lock()
	if e.stream != nil && s.Failed() == nil {
		e.stream.settle()
	}
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

// replaceLocked sets what is known of the extent file, and leaves the staging file alone.
func (e *extent) replaceLocked(next state) {
	next.generation = e.generation + 1
	next.staged, next.partBytes = e.staged, e.partBytes
	e.state = next
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
	for _, e := range s.extents { // nobody else is in the store
		if e.stage != nil {
			e.stage.end(CodeClosed, "the store is closed")
		}
		if e.stream != nil {
			e.stream.close(&Error{Op: "stream", Code: CodeClosed, ID: e.id, Detail: "the store is closed"})
		}
	}
	s.catalogue.writers.Wait()
	s.catalogueIfWorth()
	s.files.closeAll()
	return errors.Join(s.fences.file.Close(), s.lock.Close())
}
