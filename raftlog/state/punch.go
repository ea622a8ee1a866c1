package state

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// A punch deletes ranges of extents: small objects that share one. It takes effect at the index of its entry, on all
// nodes at once: from then on no read, of any node that has applied it, gives a byte of such a range, whatever is on
// its disk. What disks get back of it is up to each node, and nothing of the log.
//
// It is no operation: it has no length in time that anything could conflict with. Nothing that is open on the extent
// needs the bytes that go, and nothing brings them back: a seal, a copy or a proof is about files, and what may be
// read of a file follows from the holes that are kept here. A delete of the extent ends them. So there is nothing for
// a policy to choose: it coexists with all, and is refused where the extent is deleted.
//
// Each hole is kept exactly, as holes that touch become one: a deleted object costs 24 bytes of memory and 10 of a
// snapshot at the most while its neighbours live, and nothing once they are gone.

const (
	// MaxPunches bounds the ranges of one command.
	MaxPunches = 4096
	// maxHoles bounds the holes of one extent, and maxHolesInAll those of the cell: 200 MB of each node's memory.
	maxHoles      = 1 << 16
	maxHolesInAll = 4 << 20
	// maxExtentBytes bounds where a range of an open extent may end, whose length is not known here.
	maxExtentBytes = 1 << 48
)

// Range is a part of an extent.
type Range struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent ExtentID
	Offset uint64
	Length uint64
	Birth  uint32 // of the extent that is meant; 0: of whichever has the number
}

// Punch deletes ranges. Each goes or is refused by itself.
type Punch struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Request Request
	Ranges  []Range
	AskedBy Identity
}

// PunchRefusal says why a range of a punch was not deleted.
type PunchRefusal struct {
	At  int // in Punch.Ranges
	Err *wire.Error
}

// hole is a deleted range. Invariant: from < to; no two of an extent overlap or touch.
type hole struct {
	extent   ExtentID
	from, to uint64
}

func lessHole(a, b hole) bool {
	if a.extent != b.extent {
		return a.extent < b.extent
	}
	return a.from < b.from
}

// Holes are the deleted ranges of an extent, as a snapshot has them: where each begins and ends.
type Holes struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent ExtentID
	Bounds []uint64 // rising: from, to, from, to, …
}

// Sum is a hash of all that the punch asks for, but its number. Never 0.
func (c *Punch) Sum() uint64 {
	b := make([]byte, 0, 32*len(c.Ranges))
	for _, r := range c.Ranges {
		b = binary.AppendUvarint(b, uint64(r.Extent))
		b = binary.AppendUvarint(b, r.Offset)
		b = binary.AppendUvarint(b, r.Length)
		b = binary.AppendUvarint(b, uint64(r.Birth))
	}
	sum := sha256.Sum256(b)
	return cmp.Or(binary.BigEndian.Uint64(sum[:]), 1)
}

// asAdmit is the punch as far as sessions look at what is asked in them.
func (c *Punch) asAdmit() *Admit {
	return &Admit{Request: c.Request, Kind: policies.KindPunch, AskedBy: c.AskedBy}
}

// PunchAnswered is what a punch came to that was carried out before under the same number; ok is false for a new one.
// What was refused then is looked for in the state as it is now.
func (v *View) PunchAnswered(c *Punch) (res Result, ok bool) {
	if res, ok = v.Answered(c.asAdmit()); !ok || res.Err != nil {
		return res, ok
	}
	for i, r := range c.Ranges {
		if err := v.CheckPunch(r); err != nil && !v.gone(r) {
			res.Refused = append(res.Refused, PunchRefusal{At: i, Err: err})
		}
	}
	return res, true
}

// gone reports whether nothing of a range can be read any more: it is deleted, or its extent is.
func (v *View) gone(r Range) bool {
	e := v.Extent(r.Extent)
	if e == nil || e.State == ExtentDeleted && !e.Kept() {
		return r.Extent != 0 && r.Extent < v.NextExtent
	}
	from, to, some := v.FirstHole(r.Extent, r.Offset, r.Length)
	return some && from == r.Offset && to == r.Offset+r.Length
}

// CheckPunch refuses a range that cannot be deleted.
func (v *View) CheckPunch(r Range) *wire.Error {
	switch {
	case r.Length == 0:
		return refuse(wire.CodeInvalid, "a range of extent %d at offset %d has no bytes; nothing is deleted of it",
			r.Extent, r.Offset)
	case r.Offset+r.Length < r.Offset:
		return refuse(wire.CodeInvalid, "offset %d and length %d are more than an extent can have", r.Offset, r.Length)
	}
	e := v.Extent(r.Extent)
	switch {
	case e == nil && r.Extent != 0 && r.Extent < v.NextExtent:
		return refuse(wire.CodeNotFound, "extent %d was deleted", r.Extent)
	case e == nil:
		return refuse(wire.CodeNotFound, "there is no extent %d", r.Extent)
	case e.State == ExtentDeleted:
		return refuse(wire.CodeNotFound, "extent %d is deleted%s", r.Extent, e.graceText())
	case r.Birth != 0 && r.Birth != e.Birth():
		return refuse(wire.CodeNotFound,
			"extent %d of this cell was born %s, the locator names %s: it was stored in another history of this cell",
			e.ID, wire.BirthText(e.Birth()), wire.BirthText(r.Birth))
	case e.State == ExtentSealed && r.Offset+r.Length > e.Length:
		return refuse(wire.CodeNotFound, "extent %d has %d bytes, the range ends at %d", e.ID, e.Length, r.Offset+r.Length)
	case e.State == ExtentCreating, r.Offset+r.Length > maxExtentBytes:
		return refuse(wire.CodeNotFound, "extent %d does not go as far as byte %d", e.ID, r.Offset+r.Length)
	case v.gone(r):
		return refuse(wire.CodeNotFound, "%d bytes of extent %d at offset %d are deleted already", r.Length, e.ID, r.Offset)
	case e.Holes >= maxHoles:
		return refuse(wire.CodeExhausted, "extent %d has %d separate deleted ranges already; delete what lies between them, "+
			"or all of the extent", e.ID, e.Holes)
	case v.holes.Len() >= maxHolesInAll:
		return refuse(wire.CodeExhausted,
			"the cell keeps %d separate deleted ranges already; delete what lies between them, or whole extents", v.holes.Len())
	}
	return nil
}

// punch deletes ranges. A second request under a number is answered by what is deleted now.
func (s *State) punch(c *Punch) Result {
	if len(c.Ranges) > MaxPunches {
		return refused(wire.CodeInvalid, "%d ranges at once; at most %d", len(c.Ranges), MaxPunches)
	}
	if res, ok := s.PunchAnswered(c); ok {
		return res
	}
	res := Result{Kind: policies.KindPunch}
	for i, r := range c.Ranges {
		if err := s.CheckPunch(r); err != nil {
			res.Refused = append(res.Refused, PunchRefusal{At: i, Err: err})
			continue
		}
		s.dig(r.Extent, r.Offset, r.Offset+r.Length)
	}
	s.remember(c.Request, res)
	return res
}

// dig makes a hole of [from, to), one with those that it overlaps or touches.
func (s *State) dig(id ExtentID, from, to uint64) {
	e := *s.Extent(id) // the slices are shared, and not written to
	s.eachHole(id, from, to, func(h hole) {
		s.holes.Delete(h)
		e.Holes--
		e.Punched -= h.to - h.from
		from, to = min(from, h.from), max(to, h.to)
	})
	s.holes.Set(hole{id, from, to})
	e.Holes++
	e.Punched += to - from
	s.putExtent(&e)
}

// eachHole calls do with the holes of an extent that overlap or touch [from, to), which do may delete.
func (s *State) eachHole(id ExtentID, from, to uint64, do func(hole)) {
	var found []hole
	s.Holes(id, from, func(f, t uint64) bool {
		if f <= to {
			found = append(found, hole{id, f, t})
		}
		return f <= to
	})
	for _, h := range found {
		do(h)
	}
}

// Holes goes through the deleted ranges of an extent that end at from or behind, in order.
func (v *View) Holes(id ExtentID, from uint64, yield func(from, to uint64) bool) {
	start := hole{extent: id, from: from}
	v.holes.Descend(start, func(h hole) bool { // one that begins before from may reach it
		if h.extent == id && h.to >= from {
			start = h
		}
		return false
	})
	v.holes.Ascend(start, func(h hole) bool { return h.extent == id && yield(h.from, h.to) })
}

// FirstHole is the first part of [offset, offset+length) that is deleted; some is false if nothing is.
func (v *View) FirstHole(id ExtentID, offset, length uint64) (from, to uint64, some bool) {
	end := offset + length
	v.Holes(id, offset, func(f, t uint64) bool {
		if f, t = max(f, offset), min(t, end); f < t {
			from, to, some = f, t, true
		}
		return f < end && !some
	})
	return from, to, some
}

// CheckDeleted refuses to read a range of which something is deleted.
func (v *View) CheckDeleted(op wire.OpType, e *Extent, offset, length uint64) *wire.Error {
	if e.Holes == 0 {
		return nil
	}
	from, to, some := v.FirstHole(e.ID, offset, length)
	if !some {
		return nil
	}
	return wire.Errorf(op, wire.CodeNotFound, "%d bytes of extent %d at offset %d are deleted", to-from, e.ID, from)
}

// fillHoles forgets the holes of an extent behind its end, and brings e's counts up to date.
func (s *State) fillHoles(e *Extent, end uint64) {
	if e.Holes == 0 {
		return
	}
	s.eachHole(e.ID, end, maxExtentBytes, func(h hole) {
		if h.to <= end {
			return
		}
		s.holes.Delete(h)
		e.Holes--
		e.Punched -= h.to - h.from
		if h.from < end {
			s.holes.Set(hole{e.ID, h.from, end})
			e.Holes++
			e.Punched += end - h.from
		}
	})
}

// eachHoles goes through the holes of all extents that have any, for a snapshot.
func (v *View) eachHoles(yield func(*Holes) error) (err error) {
	all := &Holes{}
	v.holes.Scan(func(h hole) bool {
		if h.extent != all.Extent && all.Extent != 0 {
			err = yield(all)
			all = &Holes{}
		}
		all.Extent = h.extent
		all.Bounds = append(all.Bounds, h.from, h.to)
		return err == nil
	})
	if err == nil && all.Extent != 0 {
		err = yield(all)
	}
	return err
}

// restoreHoles takes what a snapshot has of an extent's holes. The extent counts them itself.
func (s *State) restoreHoles(all *Holes) error {
	for at := 0; at+1 < len(all.Bounds); at += 2 {
		s.holes.Set(hole{all.Extent, all.Bounds[at], all.Bounds[at+1]})
	}
	return nil
}

// EachPunched goes through the extents of which something is deleted, in order.
func (v *View) EachPunched(yield func(*Extent) bool) {
	for from, more := (hole{}), true; more; {
		more = false
		v.holes.Ascend(from, func(h hole) bool {
			if e := v.Extent(h.extent); e == nil || yield(e) {
				from, more = hole{extent: h.extent + 1}, true
			}
			return false
		})
	}
}
