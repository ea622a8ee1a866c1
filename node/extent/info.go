package extent

import (
	"maps"
	"slices"
)

// Range is the bytes [From, To) of an extent.
type Range struct{ From, To uint64 }

// Info is what Stat returns.
type Info struct {
	ID            ID
	Present       bool   // there is a replica; false if there is only a staging file
	Length        uint64 // durable
	Sealed        bool   // by Seal or Commit since Open
	Staging       bool   // there is a staging file
	PhysicalBytes int64  // of the replica's file
	StagingBytes  int64
	Created       Fence   // of the file: by Create, or by the Stage it came from
	Birth         Birth   // of the file likewise; 0: not known
	Highest       Fence   // of the extent
	Damaged       []Range // found damaged by Open
	Broken        string  // why the whole file cannot be used; empty if it can
	Floor         uint64  // how much is known to be acknowledged, also where the file is shorter than that or broken
	Cut           bool    // the end was not sound when the store was opened: Length may fall short of what was here
}

// Usage is what a store holds.
type Usage struct {
	Extents       int
	LogicalBytes  uint64
	PhysicalBytes int64
	StagingFiles  int
	StagingBytes  int64
}

// Stat says what is known of an extent. CodeNotFound if there is neither a replica nor a staging file.
func (s *Store) Stat(id ID) (Info, error) {
	const op = "stat"
	if err := s.enter(op, id); err != nil {
		return Info{}, err
	}
	defer s.leave()
	e, err := s.use(op, id)
	if err != nil {
		return Info{}, err
	}
	defer s.unpin(e)
	st := e.snapshot()
	if !st.present && !st.staged {
		return Info{}, errNotFound(op, id)
	}
	info := Info{ID: id, Present: st.present, Length: st.idx.end, Sealed: st.sealed, Staging: st.staged,
		PhysicalBytes: st.fileBytes, StagingBytes: st.partBytes, Created: st.created, Birth: st.birth,
		Highest: s.fences.get(id), Floor: st.acked, Cut: st.cut}
	for _, g := range st.idx.gaps {
		info.Damaged = append(info.Damaged, Range{g.from, g.to})
	}
	if st.broken != nil {
		info.Broken = st.broken.Error()
	}
	return info, nil
}

// IDs lists the extents that have a replica, ascending.
func (s *Store) IDs() []ID {
	return s.list(func(st *state) bool { return st.present })
}

// Staged lists the extents that have a staging file, ascending.
func (s *Store) Staged() []ID {
	return s.list(func(st *state) bool { return st.staged })
}

// Bare lists the extents of which nothing is here but a fence, ascending.
func (s *Store) Bare() []ID {
	s.fences.mu.Lock()
	ids := slices.Sorted(maps.Keys(s.fences.highest))
	s.fences.mu.Unlock()
	held := map[ID]bool{}
	for _, id := range s.list(func(st *state) bool { return st.present || st.staged }) {
		held[id] = true
	}
	return slices.DeleteFunc(ids, func(id ID) bool { return held[id] })
}

func (s *Store) list(want func(*state) bool) []ID {
	s.mu.Lock()
	ids := make([]ID, 0, len(s.extents)+len(s.asleep.naps))
	if want(&state{present: true}) {
		for id := range s.asleep.naps {
			ids = append(ids, id)
		}
	}
	for id, e := range s.extents {
		if st := e.snapshot(); want(&st) {
			ids = append(ids, id)
		}
	}
	s.mu.Unlock()
	slices.Sort(ids)
	return ids
}

// Usage adds up what the store holds. What nobody has looked into yet since it was opened counts as empty.
func (s *Store) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := Usage{Extents: len(s.asleep.naps), LogicalBytes: s.asleep.logicalBytes, PhysicalBytes: s.asleep.physicalBytes}
	for _, e := range s.extents {
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
