package raftlog

import (
	"bytes"
	"encoding/binary"
)

// pageScan goes through part of a bucket in order, and around what is damaged. Its pages are read into buffers that it
// uses again: what it hands out is good until the next element.
type pageScan struct {
	file     *pageFile
	from, to []byte // keys, both included; nil: from the first, to the last
	reverse  bool
	levels   [maxPageDepth + 1]pageLevel
	// visit takes each element, until it answers false.
	visit func(element) bool
	// damaged is told which keys cannot be read and why: low and those up to high, nil for all that follow, which is not
	// among them. It answers false to stop.
	damaged func(low, high []byte, err error) bool
}

type pageLevel struct {
	page []byte
	all  []element
}

// bucket scans a bucket. value is what its parent says of it.
func (s *pageScan) bucket(value []byte) bool {
	if len(value) < bucketHeadBytes {
		return s.damaged(nil, nil, corrupt("a bucket of %d bytes", len(value)))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return s.page(root, 0, nil, nil)
	}
	leaf, all, err := elements(0, value[bucketHeadBytes:])
	if err == nil && !leaf {
		err = corrupt("a bucket within a page is no leaf of its own")
	}
	if err != nil {
		return s.damaged(nil, nil, err)
	}
	return s.each(all, 0, true, nil, nil)
}

// page scans what is under a page, whose keys are at least low and, unless high is nil, below high.
func (s *pageScan) page(id uint64, depth int, low, high []byte) bool {
	if depth > maxPageDepth {
		return s.damaged(low, high, pageError(id, "lies deeper than %d pages", maxPageDepth))
	}
	l := &s.levels[depth]
	var leaf bool
	page, err := s.file.read(id, l.page)
	if err == nil {
		l.page = page
		leaf, l.all, err = elementsInto(l.all, id, page)
	}
	if err == nil {
		err = within(id, l.all, low, high)
	}
	if err != nil {
		return s.damaged(low, high, err)
	}
	return s.each(l.all, depth, leaf, low, high)
}

// within reports whether all keys of a page are where its parent says.
func within(id uint64, all []element, low, high []byte) error {
	n := len(all)
	if n == 0 {
		return nil
	}
	if bytes.Compare(all[0].key, low) < 0 || high != nil && bytes.Compare(all[n-1].key, high) >= 0 {
		return pageError(id, "some of its %d elements belong to another page", n)
	}
	return nil
}

func (s *pageScan) each(all []element, depth int, leaf bool, low, high []byte) bool {
	for n := range all {
		i := n
		if s.reverse {
			i = len(all) - 1 - n
		}
		e, end := all[i], high
		if i+1 < len(all) {
			end = all[i+1].key
		}
		switch {
		case s.to != nil && bytes.Compare(e.key, s.to) > 0: // all of it is behind
		case leaf && bytes.Compare(e.key, s.from) < 0, !leaf && end != nil && bytes.Compare(end, s.from) <= 0: // before
		case leaf:
			if !s.visit(e) {
				return false
			}
		case !s.page(e.page, depth+1, e.key, end):
			return false
		}
	}
	return true
}
