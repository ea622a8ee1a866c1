package extent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/datanode/datanode/node/internal/vfs"
)

// Report is what Open found and did.
type Report struct {
	Extents     int      // replicas that can be used, damaged ones included
	Torn        []Torn   // tails that were put aside and cut: most likely never acknowledged, see Info.Cut
	Damaged     []Damage // acknowledged bytes that cannot be read
	TornCreates []ID     // files without a valid header and without bytes, removed
	Redone      []ID     // cuts and punches that a crash had interrupted
	Footers     []ID     // sealed replicas whose footer was damaged: their records were read instead
	Catalogue   error    // why the catalogue cannot be used; every footer was read instead
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
	for _, id := range r.Footers {
		fmt.Fprintf(&b, "footer damaged: extent %d\n", id)
	}
	if r.Catalogue != nil {
		fmt.Fprintf(&b, "catalogue not used: %v\n", r.Catalogue)
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

// Open recovers the store in dir, which is made if it does not exist: Begin and Run.
func Open(fsys vfs.FS, dir string, opts Options) (*Store, Report, error) {
	s, r, err := Begin(fsys, dir, opts)
	if err != nil {
		return nil, Report{}, err
	}
	report, err := r.Run(context.Background())
	if err != nil {
		return nil, Report{}, errors.Join(err, s.Close())
	}
	return s, report, nil
}

// Begin makes the store in dir usable, in little time: it reads names and the catalogue, and no extent. Whoever uses an
// extent before Run has got to it waits for that one alone. What is reported as there is durable: after the
// death of the process alone the system may hold bytes that never reached the disk, so every folder is synced, and
// every file that could have some is when it is first looked into.
func Begin(fsys vfs.FS, dir string, opts Options) (*Store, *Recovery, error) {
	s := &Store{fs: fsys, dir: folder(dir), files: newHandles(fsys, opts.OpenFiles), extents: map[ID]*extent{},
		fans: map[string]bool{}, room: opts.MakeRoom, maxAwake: maxAwake, verifyAll: opts.VerifyAll}
	s.asleep = asleep{naps: map[ID]nap{}, tails: map[ID]bool{}}
	if s.room == nil {
		s.room = func() bool { return false }
	}
	fail := func(err error) (*Store, *Recovery, error) {
		return nil, nil, &Error{Op: "open", Code: openCode(err), Detail: dir, Err: err}
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
	r := &Recovery{s: s}
	if s.fences, r.report.LostFences, err = openFences(fsys, s.dir, s.room); err != nil {
		return fail(errors.Join(err, s.lock.Close()))
	}
	if err := r.begin(); err != nil {
		return fail(errors.Join(err, s.Close()))
	}
	return s, r, nil
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

// recoverers is how many files Run reads at once.
const recoverers = 16

// Recovery is the part of opening a store that looks into files.
type Recovery struct {
	s      *Store
	report Report // owned by Begin; later by Store.mu, as Store.asleep.found
	look   []ID   // into these
}

func (r *Recovery) begin() error {
	if err := r.cuts(); err != nil {
		return err
	}
	if err := r.replicas(); err != nil {
		return err
	}
	var err error
	if r.report.Catalogue, err = r.s.readCatalogue(); err != nil {
		return err
	}
	if err := r.staging(); err != nil {
		return err
	}
	for id, n := range r.s.asleep.naps {
		if !n.known || r.s.verifyAll || r.s.asleep.tails[id] || slices.Contains(r.report.Redone, id) {
			r.s.asleep.put(id, nap{})
			r.look = append(r.look, id)
		}
	}
	for id, e := range r.s.extents { // those that are being copied
		if !e.waking.awake.Load() {
			r.look = append(r.look, id)
		}
	}
	slices.Sort(r.look)
	r.s.asleep.found = &r.report
	return syncDir(r.s.fs, r.s.dir.quarantine())
}

// Run looks into every file that the catalogue does not list: it reads footers, and all records where there is none,
// and cuts what is torn. It ends early when ctx does, or with a failure of the disk.
func (r *Recovery) Run(ctx context.Context) (Report, error) {
	ids, failed := make(chan ID), make(chan error, recoverers)
	var workers sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range min(recoverers, len(r.look)) {
		workers.Go(func() {
			for id := range ids {
				if err := r.s.lookInto(id); err != nil {
					failed <- err
					cancel()
					return
				}
			}
		})
	}
	for _, id := range r.look {
		select {
		case ids <- id:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(ids)
	workers.Wait()
	r.look = nil
	select {
	case err := <-failed:
		return Report{}, &Error{Op: "open", Code: openCode(err), Detail: string(r.s.dir), Err: err}
	default:
	}
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	r.s.catalogueIfWorth()
	return r.end(), nil
}

// lookInto wakes an extent.
func (s *Store) lookInto(id ID) error {
	const op = "open"
	if err := s.enter(op, id); err != nil {
		return err
	}
	defer s.leave()
	e, err := s.use(op, id)
	if err == nil {
		s.unpin(e)
	}
	return err
}

// end is the report, in order.
func (r *Recovery) end() Report {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asleep.found = nil
	out := r.report
	out.Extents = len(s.asleep.naps)
	for _, e := range s.extents {
		if st := e.snapshot(); st.present && st.broken == nil {
			out.Extents++
		}
	}
	slices.SortFunc(out.Torn, func(a, b Torn) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(out.Damaged, func(a, b Damage) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(out.TornCreates)
	slices.Sort(out.Footers)
	return out
}

// add adds what was found in a file.
func (r *Report) add(found Report) {
	r.Torn = append(r.Torn, found.Torn...)
	r.Damaged = append(r.Damaged, found.Damaged...)
	r.TornCreates = append(r.TornCreates, found.TornCreates...)
	r.Footers = append(r.Footers, found.Footers...)
}

func (r *Recovery) leftover(dir, name string) {
	r.report.Leftovers = append(r.report.Leftovers, path.Join(strings.TrimPrefix(dir, string(r.s.dir)+"/"), name))
}

// cuts does again what a Seal or a Punch had only promised.
func (r *Recovery) cuts() error {
	dir := r.s.dir.staging()
	names, err := r.s.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, cut := parseName(name, cutSuffix)
		punched := false
		if !cut {
			id, punched = parseName(name, punchSuffix)
		}
		switch {
		case cut:
			err = r.redo(id, path.Join(dir, name), cutAgain)
		case punched:
			err = r.redo(id, path.Join(dir, name), punchAgain)
		default:
			continue
		}
		if err != nil {
			return err
		}
		if err := r.s.fs.Remove(path.Join(dir, name)); err != nil {
			return err
		}
	}
	return syncDir(r.s.fs, dir)
}

// again is what an intent asks to be done to the file of an extent that has this header; nil where it is torn, and the
// file was not touched yet, or where another file has come to its place.
type again func(intent []byte, id ID, h fileHeader) func(f vfs.File) error

func cutAgain(intent []byte, id ID, _ fileHeader) func(f vfs.File) error {
	_, c, err := parseCutIntent(intent)
	if err != nil || c.id != id {
		return nil
	}
	return c.redo
}

func punchAgain(intent []byte, id ID, h fileHeader) func(f vfs.File) error {
	in, err := parsePunchIntent(intent)
	if err != nil || in.id != id || !in.header.sameFile(h) {
		return nil
	}
	return in.redo
}

// redo does what the intent of that name says.
func (r *Recovery) redo(id ID, name string, again again) error {
	intent, err := r.s.fs.OpenRead(name)
	if err != nil {
		return err
	}
	buf, err := readWhole(intent)
	if err = errors.Join(err, intent.Close()); err != nil {
		return err
	}
	f, err := r.s.fs.OpenRW(r.s.dir.extent(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := readFileHeader(f, id)
	if err != nil {
		return nil // found again, and reported, when the replicas are read
	}
	do := again(buf, id, h)
	if do == nil {
		return nil
	}
	r.report.Redone = append(r.report.Redone, id)
	return do(f)
}

func (r *Recovery) replicas() error {
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

func (r *Recovery) fan(dir, fan string) error {
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
		r.s.asleep.put(id, nap{})
	}
	r.s.fans[dir] = true
	return syncDir(r.s.fs, dir)
}

// writeAgain writes what is in the file between two positions once more. After a failed sync the system
// may hold pages that are not on the disk, say so to no later sync, and show them to this process:
// only pages that are written again are sure to be written back.
func writeAgain(f vfs.File, pos, end int64) error {
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

func (r *Recovery) staging() error {
	dir := r.s.dir.staging()
	names, err := r.s.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, ok := parseName(name, tailSuffix); ok {
			if _, sleeps := r.s.asleep.naps[id]; sleeps || r.s.extents[id] != nil && r.s.extents[id].present {
				r.s.asleep.tails[id] = true
			} else if err := r.s.removeFrom(dir, path.Join(dir, name)); err != nil {
				return err
			}
			continue
		}
		if _, ok := parseName(name, newSuffix); ok { // a rewrite that died: the old file has all that is in it
			if err := r.s.removeFrom(dir, path.Join(dir, name)); err != nil {
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
		e := r.s.pinLocked(id) // and is unpinned with its last call
		e.staged, e.partBytes = true, info.SizeBytes
		r.report.Staged = append(r.report.Staged, id)
	}
	return nil
}
