package extent

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Drop removes an extent's replica and staging file, durably, and ends its stage. It waits for reads
// that are going on; later ones find nothing. Dropping what is not there does nothing. The fence stays.
func (s *Store) Drop(id ID) error {
	const op = "drop"
	e, err := s.change(op, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	if e.stage != nil {
		e.stage.end(CodeNotFound, "the extent was dropped")
		e.stage = nil
	}
	e.use.Lock()
	defer e.use.Unlock()
	st := e.snapshot()
	s.files.forget(s.dir.extent(id))
	if st.present {
		err = s.removeFrom(s.dir.fan(id), s.dir.extent(id))
	}
	if err == nil && st.staged {
		err = s.removeFrom(s.dir.staging(), s.dir.part(id))
	}
	if err == nil && st.cut {
		err = s.removeFrom(s.dir.staging(), s.dir.tail(id))
	}
	if err != nil {
		return s.failure(op, id, distrust(err))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.staged, e.partBytes = false, 0
	e.replaceLocked(state{idx: newIndex()})
	return nil
}

func (s *Store) removeFrom(dir, name string) error {
	if err := removeIfThere(s.fs, name); err != nil {
		return err
	}
	return syncDir(s.fs, dir)
}

// Quarantine moves an extent's replica aside, with a note that says why. Nothing deletes it.
func (s *Store) Quarantine(id ID, why string) error {
	const op = "quarantine"
	e, err := s.change(op, id)
	if err != nil {
		return err
	}
	defer s.unchange(e)
	if !e.snapshot().present {
		return errNotFound(op, id)
	}
	e.use.Lock()
	defer e.use.Unlock()
	if err := s.moveAside(e, why); err != nil {
		return s.failure(op, id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.replaceLocked(state{idx: newIndex()})
	return nil
}

// moveAside is Quarantine's work on disk. The caller holds e.write and e.use. The note comes first:
// a note without a file does no harm, a file without a note makes people wonder.
func (s *Store) moveAside(e *extent, why string) error {
	n, err := s.nextQuarantined(e.id)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("extent %d\n%s\n", e.id, why)
	err = within(s.room, func() error {
		return createWith(s.fs, s.dir.quarantined(e.id, n, whySuffix), []byte(note))
	})
	if err != nil {
		return err
	}
	s.files.forget(s.dir.extent(e.id))
	if err := s.fs.Rename(s.dir.extent(e.id), s.dir.quarantined(e.id, n, extentSuffix)); err != nil {
		return err
	}
	err = s.fs.Rename(s.dir.tail(e.id), s.dir.quarantined(e.id, n, tailSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if err := syncDir(s.fs, s.dir.staging()); err != nil {
			return err
		}
	}
	if err := syncDir(s.fs, s.dir.quarantine()); err != nil {
		return err
	}
	return syncDir(s.fs, s.dir.fan(e.id))
}

// nextQuarantined is a number that no file of the extent in quarantine has.
func (s *Store) nextQuarantined(id ID) (int, error) {
	names, err := s.fs.List(s.dir.quarantine())
	if err != nil {
		return 0, err
	}
	next := 1
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, id.String()+".")
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(digits); err == nil && n >= next {
			next = n + 1
		}
	}
	return next, nil
}
