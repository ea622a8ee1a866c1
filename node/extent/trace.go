package extent

// Trace is what a store has of an extent, the most that it has of it.
type Trace uint8

const (
	TraceNone   Trace = iota
	TraceFence        // only a fence
	TraceStaged       // a replica that is being copied
	TraceHeld         // a replica
)

// Trace says what the store has of an extent, from memory.
func (s *Store) Trace(id ID) Trace {
	s.mu.Lock()
	_, held := s.asleep.naps[id]
	staged := false
	if e := s.extents[id]; e != nil {
		e.mu.Lock()
		held, staged = held || e.present, e.staged
		e.mu.Unlock()
	}
	s.mu.Unlock()
	switch {
	case held:
		return TraceHeld
	case staged:
		return TraceStaged
	case s.fences.get(id) > 0:
		return TraceFence
	}
	return TraceNone
}

// GiveUp makes every later change fail with CodeDiskFailed, as a failed sync does. What is under way goes on.
func (s *Store) GiveUp(why error) {
	s.failed.CompareAndSwap(nil,
		&Error{Op: "write", Code: CodeDiskFailed, Err: why, Detail: "nothing is written any more"})
}
