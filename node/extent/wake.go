package extent

import (
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/datanode/datanode/node/internal/vfs"
)

// A store of a million sealed extents must be there within seconds, so it does not look into a file before somebody
// wants something of it: an extent sleeps until then. What is kept of it meanwhile is what the catalogue says, which
// is a hint: it is good enough to add up sizes and to see at a start that nothing is missing (Hint), and for nothing
// else. Whatever reads or changes an extent wakes it first, which reads its file: the footer, or every record header
// when there is none.
//
// Extents go back to sleep when too many are awake. Only those do whose file says everything that is known of them.

// maxAwake is how many extents are kept awake; open ones, and those with something wrong, do not count for who sleeps.
const maxAwake = 16 << 10

// nap is what is kept of an extent that sleeps.
type nap struct {
	length    uint64
	fileBytes int64
	birth     Birth
	known     bool // by the catalogue, or because it was awake
	sealed    bool // by Seal or Commit since Open
}

// asleep is the extents that sleep, and what is to be found when they wake.
type asleep struct {
	naps  map[ID]nap
	tails map[ID]bool // extents that had a tail put aside when the store was opened
	found *Report     // what waking finds, while the store is being opened; else nil

	logicalBytes  uint64 // of all naps
	physicalBytes int64
}

func (a *asleep) put(id ID, n nap) {
	a.take(id)
	a.naps[id] = n
	a.logicalBytes, a.physicalBytes = a.logicalBytes+n.length, a.physicalBytes+n.fileBytes
}

func (a *asleep) take(id ID) {
	n := a.naps[id]
	delete(a.naps, id)
	a.logicalBytes, a.physicalBytes = a.logicalBytes-n.length, a.physicalBytes-n.fileBytes
}

// waking is an extent's own part in that.
type waking struct {
	mu    sync.Mutex // held while the file is read; nobody uses the extent before
	awake atomic.Bool
	nap   nap
}

// Hint is what is known of a replica whose file has not been looked into.
type Hint struct {
	Length uint64
	Birth  Birth
}

// Hint says what the catalogue says of an extent that nobody has used since the store was opened. It is for telling
// what must be looked into, no more: the file may be another by now, and whoever uses it is told.
func (s *Store) Hint(id ID) (h Hint, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.asleep.naps[id]
	return Hint{n.length, n.birth}, ok && n.known
}

// pin finds or makes the entry of an extent, and keeps it in the map until unpin. The extent may sleep: see use.
func (s *Store) pin(id ID) *extent {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.pinLocked(id)
	e.pins++
	return e
}

func (s *Store) pinLocked(id ID) *extent {
	if e := s.extents[id]; e != nil {
		return e
	}
	e := &extent{id: id}
	e.idx = newIndex()
	n, sleeps := s.asleep.naps[id]
	if sleeps {
		s.asleep.take(id)
		e.waking.nap = n
		e.present, e.sealed, e.birth, e.fileBytes, e.idx.end = true, n.sealed, n.birth, n.fileBytes, n.length
	}
	e.waking.awake.Store(!sleeps)
	s.extents[id] = e
	return e
}

func (s *Store) unpin(e *extent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.pins--; e.pins > 0 {
		return
	}
	st := e.snapshot()
	switch {
	case !e.waking.awake.Load():
		if !st.staged {
			s.asleep.put(e.id, e.waking.nap)
			delete(s.extents, e.id)
		}
	case !st.present && !st.staged:
		delete(s.extents, e.id)
	case len(s.extents) > s.maxAwake:
		s.sleepLocked()
	}
}

// sleepLocked puts some extents to sleep. Which ones is left to the order of the map, which is random: a list in order
// of use would cost every read a lock for long, to save the next reader one read of a footer.
func (s *Store) sleepLocked() {
	tries := 8
	for id, e := range s.extents {
		if st := e.snapshot(); e.pins == 0 && e.waking.awake.Load() && st.tells() && len(st.hidden) == 0 {
			s.asleep.put(id, st.nap())
			delete(s.extents, id)
		}
		if tries--; tries == 0 || len(s.extents) <= s.maxAwake {
			return
		}
	}
}

// tells reports whether the footer of the file says everything that is known of the extent.
func (st *state) tells() bool {
	return st.present && !st.staged && st.broken == nil && !st.cut && !st.loose && st.footerBytes > 0 &&
		len(st.idx.gaps) == 0
}

func (st *state) nap() nap {
	return nap{length: st.idx.end, fileBytes: st.fileBytes, birth: st.birth, known: true, sealed: st.sealed}
}

// use pins an extent and wakes it. The caller unpins it, unless err is set.
func (s *Store) use(op string, id ID) (*extent, error) {
	e := s.pin(id)
	if err := s.wake(op, e); err != nil {
		s.unpin(e)
		return nil, err
	}
	return e, nil
}

// wake reads an extent's file if nobody has yet. An error is a failure of the disk, and the next call tries again; a
// file that cannot be used is noted as such.
func (s *Store) wake(op string, e *extent) error {
	w := &e.waking
	if w.awake.Load() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.awake.Load() {
		return nil
	}
	var found Report
	l := loading{s: s, id: e.id, report: &found}
	next, err := l.load()
	if err != nil {
		return s.failure(op, e.id, err)
	}
	e.mu.Lock()
	next.staged, next.partBytes = e.staged, e.partBytes
	next.sealed = w.nap.sealed && next.present && next.marked && next.idx.end == w.nap.length
	e.state = next
	e.mu.Unlock()
	w.awake.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asleep.found != nil {
		s.asleep.found.add(found)
	}
	if !w.nap.known && next.tells() {
		s.catalogue.unlisted++
	}
	return nil
}

// loading reads one extent's file.
type loading struct {
	s      *Store
	id     ID
	report *Report
}

// load is what is in the file: at the first look what its footer says, or what a scan finds, which also settles the
// end of the file. What it returns is a failure of the disk; a file that cannot be used is kept, and reported.
func (l *loading) load() (state, error) {
	f, err := l.s.fs.OpenRead(l.s.dir.extent(l.id))
	if errors.Is(err, fs.ErrNotExist) {
		return state{idx: newIndex()}, nil // taken away behind the store's back
	}
	if err != nil {
		return state{}, err
	}
	defer f.Close()
	if l.s.verifyAll {
		return l.scanned(f)
	}
	ft, size, err := readFooter(f, l.id)
	var without *footerError
	switch {
	case errors.As(err, &without):
		return l.scanned(f)
	case err != nil:
		return state{}, err
	}
	st := state{present: true, marked: true, created: ft.header.fence, birth: ft.header.birth, acked: ft.acked,
		idx: ft.idx, footerBytes: size - ft.idx.endPos, fileBytes: size, summed: ft.summed, sum: ft.sum,
		punched: ft.punched, stubs: ft.header.stubs, stubBytes: ft.stubBytes}
	return st, l.tail(&st)
}

// tail looks after a tail that was put aside, now or before.
func (l *loading) tail(st *state) error {
	l.s.mu.Lock()
	had := l.s.asleep.tails[l.id]
	l.s.mu.Unlock()
	if !had && !st.cut {
		return nil
	}
	return l.s.settleTail(l.id, st)
}

// scanned is what a scan of the file finds. It is opened anew for writing only if something is to be written.
func (l *loading) scanned(f vfs.File) (state, error) {
	size, err := f.Size()
	if err != nil {
		return state{}, err
	}
	h, err := readFileHeader(f, l.id)
	if err != nil && size <= fileHeaderBytes {
		l.report.TornCreates = append(l.report.TornCreates, l.id)
		if err := l.s.fs.Remove(l.s.dir.extent(l.id)); err != nil {
			return state{}, err
		}
		return state{idx: newIndex()}, syncDir(l.s.fs, l.s.dir.fan(l.id))
	}
	mode := scanQuick
	if l.s.verifyAll {
		mode = scanAll
	}
	st := state{present: true, fileBytes: size, created: h.fence, birth: h.birth, idx: newIndex()}
	got, scanErr := scan(f, h, l.id, mode)
	st.acked = got.acked // records are bound to the extent, whatever the file's header says
	if err = errors.Join(err, scanErr); err != nil {
		st.broken = err
		l.report.Damaged = append(l.report.Damaged, Damage{ID: l.id, Why: err.Error()})
		return st, l.tail(&st)
	}
	st.idx, st.marked, st.stubs = got.idx, got.marked, h.stubs
	for _, r := range clip(got.stubs, got.idx.end) {
		st.stubBytes += r.To - r.From
	}
	st.punched = union(nil, clip(got.stubs, got.idx.end))
	for _, g := range got.idx.gaps {
		l.report.Damaged = append(l.report.Damaged, Damage{ID: l.id, Range: Range{g.from, g.to}})
	}
	if err := l.settle(&st, got, h); err != nil {
		return state{}, err
	}
	return st, l.tail(&st)
}

// settle puts the end of a scanned file in order: it cuts a torn tail, writes a damaged footer anew, and syncs what
// may not have reached the disk.
func (l *loading) settle(st *state, got scanned, h fileHeader) error {
	st.fileBytes = st.idx.endPos
	if got.tornBytes == 0 && got.marked {
		return nil // a mark is written after a sync of all before it
	}
	if err := l.s.Failed(); err != nil {
		return distrust(err)
	}
	f, err := l.s.fs.OpenRW(l.s.dir.extent(l.id))
	if err != nil {
		return err
	}
	defer f.Close()
	if got.tornBytes > 0 && got.marked {
		ft, _, err := readFooter(f, l.id)
		if err == nil && ft.idx.endPos == got.idx.endPos { // VerifyAll alone gets here
			st.footerBytes, st.fileBytes = got.tornBytes, st.idx.endPos+got.tornBytes
			st.summed, st.sum, st.acked, st.punched = ft.summed, ft.sum, max(ft.acked, st.acked), ft.punched
			return nil
		}
		was, err := wasFooter(f, got.idx.endPos, got.idx.endPos+got.tornBytes)
		if err != nil {
			return err
		}
		if was {
			return l.renewFooter(f, st, h)
		}
	}
	if got.tornBytes > 0 {
		if err := l.cutTail(f, st, got); err != nil {
			return err
		}
	}
	if err := writeAgain(f, got.floorPos, got.idx.endPos); err != nil {
		return err
	}
	return syncFile(f)
}

// renewFooter replaces what is left of a footer. It follows a mark, so that all that was acknowledged is in front of
// it, and nothing of it is the extent's.
func (l *loading) renewFooter(f vfs.File, st *state, h fileHeader) error {
	l.report.Footers = append(l.report.Footers, l.id)
	if err := f.Truncate(st.idx.endPos); err != nil {
		return distrust(err)
	}
	buf := st.footer(h)
	if _, err := f.WriteAt(buf, st.idx.endPos); err != nil {
		err = undoWrite(f, st.idx.endPos, err)
		if vfs.IsNoSpace(err) && !errors.Is(err, errSyncFailed) {
			return nil // it does without
		}
		return err
	}
	st.footerBytes, st.fileBytes = int64(len(buf)), st.idx.endPos+int64(len(buf))
	return syncFile(f)
}

// cutTail puts a torn tail aside and cuts it.
func (l *loading) cutTail(f vfs.File, st *state, got scanned) error {
	st.cut = true
	l.report.Torn = append(l.report.Torn, Torn{ID: l.id, Length: got.idx.end, CutBytes: got.tornBytes})
	err := l.s.putTailAside(f, l.id, got.idx.endPos)
	switch {
	case vfs.IsNoSpace(err) && !errors.Is(err, errSyncFailed): // a full disk must not keep the store from opening
		st.loose, st.fileBytes = true, got.idx.endPos+got.tornBytes
		return nil
	case err != nil:
		return err
	}
	if err := f.Truncate(got.idx.endPos); err != nil {
		return distrust(err)
	}
	return nil
}

// footer encodes the footer for what is known of a sealed extent: nothing where it has gaps, or would be too long.
func (st *state) footer(h fileHeader) []byte {
	if len(st.idx.gaps) > 0 || len(st.idx.entries)*4 > maxFooterBytes {
		return nil
	}
	buf := appendFooter(nil, footer{header: h, acked: st.acked, summed: st.summed, sum: st.sum, idx: st.idx,
		punched: st.punched, stubBytes: st.stubBytes})
	if len(buf) > maxFooterBytes {
		return nil
	}
	return buf
}
