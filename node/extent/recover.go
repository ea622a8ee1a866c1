package extent

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/datanode/datanode/node/internal/vfs"
)

// Report is what Open found and did.
type Report struct {
	Extents     int      // replicas that can be used, damaged ones included
	Torn        []Torn   // tails that were put aside and cut: most likely never acknowledged, see Info.Cut
	Damaged     []Damage // acknowledged bytes that cannot be read
	TornCreates []ID     // files without a valid header and without bytes, removed
	Redone      []ID     // cuts that a crash had interrupted
	Staged      []ID     // staging files, to be resumed by Stage or removed by Drop
	Leftovers   []string // files that are not the store's, left alone
	LostFences  int      // records in the fences file that were durable and are damaged
}

// Torn is a cut tail.
type Torn struct {
	ID       ID
	Length   uint64 // what remains
	CutBytes int64  // of the file
}

// Damage is a damaged range, or a file that cannot be used at all (Why is set).
type Damage struct {
	ID ID
	Range
	Why string
}

func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "extents: %d\n", r.Extents)
	for _, t := range r.Torn {
		fmt.Fprintf(&b, "torn: extent %d cut to length %d, %d bytes of the file\n", t.ID, t.Length, t.CutBytes)
	}
	for _, d := range r.Damaged {
		if d.Why != "" {
			fmt.Fprintf(&b, "broken: extent %d: %s\n", d.ID, d.Why)
		} else {
			fmt.Fprintf(&b, "damaged: extent %d from %d to %d\n", d.ID, d.From, d.To)
		}
	}
	for _, id := range r.TornCreates {
		fmt.Fprintf(&b, "torn create: extent %d\n", id)
	}
	for _, id := range r.Redone {
		fmt.Fprintf(&b, "cut redone: extent %d\n", id)
	}
	for _, id := range r.Staged {
		fmt.Fprintf(&b, "staged: extent %d\n", id)
	}
	for _, name := range r.Leftovers {
		fmt.Fprintf(&b, "leftover: %s\n", name)
	}
	if r.LostFences > 0 {
		fmt.Fprintf(&b, "lost fences: %d\n", r.LostFences)
	}
	return b.String()
}

// Open recovers the store in dir, which is made if it does not exist. What it reports as there is
// durable when it returns: after the death of the process alone the system may hold bytes that never
// reached the disk, so every file and folder that could have some is synced.
func Open(fsys vfs.FS, dir string, opts Options) (*Store, Report, error) {
	s := &Store{fs: fsys, dir: folder(dir), files: newHandles(fsys, opts.OpenFiles),
		extents: map[ID]*extent{}, fans: map[string]bool{}, room: opts.MakeRoom}
	if s.room == nil {
		s.room = func() bool { return false }
	}
	fail := func(err error) (*Store, Report, error) {
		return nil, Report{}, &Error{Op: "open", Code: openCode(err), Detail: dir, Err: err}
	}
	for _, d := range []string{s.dir.extents(), s.dir.staging(), s.dir.quarantine()} {
		if err := fsys.MkdirAll(d); err != nil {
			return fail(err)
		}
	}
	var err error
	if s.lock, err = fsys.Lock(s.dir.lock()); err != nil {
		return fail(err)
	}
	var report Report
	if s.fences, report.LostFences, err = openFences(fsys, s.dir, s.room); err != nil {
		return fail(errors.Join(err, s.lock.Close()))
	}
	mode := scanQuick
	if opts.VerifyAll {
		mode = scanAll
	}
	r := recovery{s: s, mode: mode, report: &report}
	if err := r.run(); err != nil {
		return fail(errors.Join(err, s.Close()))
	}
	return s, report, nil
}

func openCode(err error) Code {
	switch {
	case errors.Is(err, errSyncFailed):
		return CodeDiskFailed
	case vfs.IsNoSpace(err):
		return CodeNoSpace
	}
	return CodeIO
}

// recovery is one run of Open over the folder.
type recovery struct {
	s      *Store
	mode   scanMode
	report *Report
}

func (r *recovery) run() error {
	if err := r.cuts(); err != nil {
		return err
	}
	if err := r.replicas(); err != nil {
		return err
	}
	if err := r.staging(); err != nil {
		return err
	}
	return syncDir(r.s.fs, r.s.dir.quarantine())
}

func (r *recovery) leftover(dir, name string) {
	r.report.Leftovers = append(r.report.Leftovers, path.Join(strings.TrimPrefix(dir, string(r.s.dir)+"/"), name))
}

// cuts does again what a Seal had only promised.
func (r *recovery) cuts() error {
	dir := r.s.dir.staging()
	names, err := r.s.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, ok := parseName(name, cutSuffix)
		if !ok {
			continue
		}
		if err := r.redo(id); err != nil {
			return err
		}
		if err := r.s.fs.Remove(path.Join(dir, name)); err != nil {
			return err
		}
	}
	return syncDir(r.s.fs, dir)
}

func (r *recovery) redo(id ID) error {
	intent, err := r.s.fs.OpenRead(r.s.dir.cut(id))
	if err != nil {
		return err
	}
	buf, err := readWhole(intent)
	if err = errors.Join(err, intent.Close()); err != nil {
		return err
	}
	_, c, err := parseCutIntent(buf)
	if err != nil || c.id != id {
		return nil // torn: the extent file was not touched yet
	}
	f, err := r.s.fs.OpenRW(r.s.dir.extent(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := readFileHeader(f, id); err != nil {
		return nil // found again, and reported, when the replicas are read
	}
	r.report.Redone = append(r.report.Redone, id)
	return c.redo(f)
}

func (r *recovery) replicas() error {
	fans, err := r.s.fs.List(r.s.dir.extents())
	if err != nil {
		return err
	}
	for _, fan := range fans {
		dir := path.Join(r.s.dir.extents(), fan)
		info, err := r.s.fs.Stat(dir)
		if err != nil {
			return err
		}
		if !info.IsDir {
			r.leftover(r.s.dir.extents(), fan)
			continue
		}
		if err := r.fan(dir, fan); err != nil {
			return err
		}
	}
	return syncDir(r.s.fs, r.s.dir.extents())
}

func (r *recovery) fan(dir, fan string) error {
	names, err := r.s.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, ok := parseName(name, extentSuffix)
		if !ok || fanName(id) != fan {
			r.leftover(dir, name)
			continue
		}
		if err := r.replica(id); err != nil {
			return err
		}
	}
	r.s.fans[dir] = true
	return syncDir(r.s.fs, dir)
}

// replica recovers one extent file. What it returns is a failure of the disk; a file that cannot be
// used is kept, and reported.
func (r *recovery) replica(id ID) error {
	name := r.s.dir.extent(id)
	f, err := r.s.fs.OpenRW(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	h, err := readFileHeader(f, id)
	if err != nil && size <= fileHeaderBytes {
		r.report.TornCreates = append(r.report.TornCreates, id)
		return r.s.fs.Remove(name)
	}
	e := r.extent(id)
	e.present, e.fileBytes, e.created = true, size, h.fence
	e.birth = h.birth
	got, scanErr := scan(f, id, r.mode)
	e.acked = got.acked // records are bound to the extent, whatever the file's header says
	if err = errors.Join(err, scanErr); err != nil {
		e.broken = err
		r.report.Damaged = append(r.report.Damaged, Damage{ID: id, Why: err.Error()})
		return nil
	}
	r.report.Extents++
	e.idx, e.marked, e.fileBytes = got.idx, got.marked, got.idx.endPos
	for _, g := range got.idx.gaps {
		r.report.Damaged = append(r.report.Damaged, Damage{ID: id, Range: Range{g.from, g.to}})
	}
	return r.settle(f, e, got)
}

// settle cuts a torn tail, and syncs what may not have reached the disk.
func (r *recovery) settle(f vfs.File, e *extent, got scanned) error {
	if got.tornBytes > 0 {
		e.cut = true
		r.report.Torn = append(r.report.Torn, Torn{ID: e.id, Length: got.idx.end, CutBytes: got.tornBytes})
		err := r.s.putTailAside(f, e.id, got.idx.endPos)
		switch {
		case vfs.IsNoSpace(err) && !errors.Is(err, errSyncFailed): // a full disk must not keep the store from opening
			e.loose, e.fileBytes = true, got.idx.endPos+got.tornBytes
		case err != nil:
			return err
		default:
			if err := f.Truncate(got.idx.endPos); err != nil {
				return distrust(err)
			}
		}
	}
	if got.marked && got.tornBytes == 0 {
		return nil // a mark is written after a sync of all before it
	}
	if err := rewrite(f, got.floorPos, got.idx.endPos); err != nil {
		return err
	}
	return syncFile(f)
}

// rewrite writes what is in the file between two positions once more. After a failed sync the system
// may hold pages that are not on the disk, say so to no later sync, and show them to this process:
// only pages that are written again are sure to be written back.
func rewrite(f vfs.File, pos, end int64) error {
	if pos >= end {
		return nil // all that was written under the last floor was torn
	}
	buf := make([]byte, min(end-pos, readWindowBytes))
	for pos < end {
		n := int(min(int64(len(buf)), end-pos))
		if got, err := f.ReadAt(buf[:n], pos); got < n {
			return distrust(fmt.Errorf("read %d bytes at %d, got %d: %w", n, pos, got, err))
		}
		if _, err := f.WriteAt(buf[:n], pos); err != nil {
			return distrust(err)
		}
		pos += int64(n)
	}
	return nil
}

func (r *recovery) extent(id ID) *extent {
	e := r.s.extents[id]
	if e == nil {
		e = &extent{id: id}
		e.idx = newIndex()
		r.s.extents[id] = e
	}
	return e
}

func (r *recovery) staging() error {
	dir := r.s.dir.staging()
	names, err := r.s.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, ok := parseName(name, tailSuffix); ok {
			if err := r.tail(id); err != nil {
				return err
			}
			continue
		}
		id, ok := parseName(name, partSuffix)
		if !ok {
			r.leftover(dir, name)
			continue
		}
		info, err := r.s.fs.Stat(path.Join(dir, name))
		if err != nil {
			return err
		}
		e := r.extent(id)
		e.staged, e.partBytes = true, info.SizeBytes
		r.report.Staged = append(r.report.Staged, id)
	}
	return nil
}
