package extent

import "fmt"

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

// Fence is the highest fence seen for an extent, 0 for none.
func (s *Store) Fence(id ID) Fence { return s.fences.get(id) }

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
func (s *Store) Create(id ID, fence Fence, birth Birth) error {
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
		if st.broken == nil && st.created == fence && st.birth.mayBe(birth) {
			return nil
		}
		return &Error{Op: op, Code: CodeExists, ID: id, Want: uint64(st.created), Have: uint64(fence),
			Detail: fmt.Sprintf("made under fence %d, asked for under %d", st.created, fence)}
	}
	if err := s.createFile(s.dir.extent(id), s.dir.fan(id), fileHeader{id: id, fence: fence, birth: birth}); err != nil {
		return s.failure(op, id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.replaceLocked(state{present: true, created: fence, birth: birth, idx: newIndex(), fileBytes: fileHeaderBytes})
	return nil
}

// mayBe reports whether b and c can be births of one extent.
func (b Birth) mayBe(c Birth) bool { return b == c || b == 0 || c == 0 }

// CheckBirth refuses, with CodeNotFound, a replica of another extent of the same ID. One whose birth is not known
// passes, and so does one that is not there.
func (s *Store) CheckBirth(id ID, birth Birth) error {
	const op = "check birth"
	if err := s.enter(op, id); err != nil {
		return err
	}
	defer s.leave()
	e, err := s.use(op, id)
	if err != nil {
		return err
	}
	defer s.unpin(e)
	if have := e.born(); !have.mayBe(birth) {
		err := errNotFound(op, id)
		err.Detail = fmt.Sprintf("the file is of an extent born %08x, not %08x", have, birth)
		return err
	}
	return nil
}

func (e *extent) born() Birth {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.birth
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
