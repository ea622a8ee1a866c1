package extent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/datanode/datanode/node/internal/vfs"
)

// What Open cuts off the end of a replica was most likely never acknowledged. It may have been, if the disk has
// damaged it since: then the other replicas have it, and this one must not be thought as long as it ever was. So
// the bytes are put aside first, in a file that is the mark of that and the evidence. It goes when the length is
// settled: by a Seal, by a copy that takes the replica's place, or with the extent.

// putTailAside copies what is in an extent file from pos on into a file of its own, durably. If the disk is full
// it leaves nothing.
func (s *Store) putTailAside(f vfs.File, id ID, pos int64) error {
	name := s.dir.tail(id)
	if err := removeIfThere(s.fs, name); err != nil { // of a crash in here, or of an end that was cut before
		return err
	}
	out, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	if err = copyRest(out, f, pos); err == nil {
		err = syncFile(out)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, removeIfThere(s.fs, name))
	}
	return syncDir(s.fs, s.dir.staging())
}

func copyRest(to, from vfs.File, pos int64) error {
	size, err := from.Size()
	if err != nil {
		return err
	}
	buf := make([]byte, min(size-pos, readWindowBytes))
	for at := pos; at < size; {
		n := int(min(int64(len(buf)), size-at))
		if got, err := from.ReadAt(buf[:n], at); got < n {
			return fmt.Errorf("read %d bytes at %d, got %d: %w", n, at, got, err)
		}
		if _, err := to.WriteAt(buf[:n], at-pos); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// forgetTail removes what was put aside, durably.
func (s *Store) forgetTail(op string, id ID) error {
	if err := s.removeFrom(s.dir.staging(), s.dir.tail(id)); err != nil {
		return s.failure(op, id, distrust(err))
	}
	return nil
}

// settleTail is what is done about a tail that was put aside: the replica stays marked, unless it ends with a mark and
// so was sealed or replaced since, or is gone.
func (s *Store) settleTail(id ID, st *state) error {
	if st.present && (!st.marked || st.cut) {
		st.cut = true
		floor, err := s.floorOfTail(id)
		st.acked = max(st.acked, floor)
		return err
	}
	return s.removeFrom(s.dir.staging(), s.dir.tail(id))
}

// floorOfTail is the highest floor in what was put aside, 0 if nothing there is a record any more.
func (s *Store) floorOfTail(id ID) (floor uint64, err error) {
	f, err := s.fs.OpenRead(s.dir.tail(id))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // there was no room to put it aside
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf, err := readWhole(f)
	if err != nil {
		return 0, err
	}
	magic := binary.LittleEndian.AppendUint32(nil, recordMagic)
	for {
		at := bytes.Index(buf, magic)
		if at < 0 {
			return floor, nil
		}
		if h, err := parseRecordHeader(buf[at:], id); err == nil && h.length > 0 {
			floor = max(floor, h.floor)
		}
		buf = buf[at+1:]
	}
}
