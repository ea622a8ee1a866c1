package extent

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"sync"

	"github.com/datanode/datanode/node/internal/vfs"
)

// The catalogue is one file with a line for each sealed extent, so that Open need not look into a million files to
// know how long they are. It is a hint (see wake.go): nothing is lost with it, and what is outdated in it is found
// when the extent is used. It is written anew, as a whole, once enough has been sealed since.
//
//	 0        4         8          16
//	+--------+---------+----------+----------+-----+----------+---------+
//	| magic  | version | number   | entry    | ... | entry    | CRC32C  |
//	| "DNEL" | 1       | of them  | 32 bytes |     | 32 bytes | of rest |
//	+--------+---------+----------+----------+-----+----------+---------+
//
// An entry is, in the order of the IDs:
//
//	 0           8          16           24       28       32
//	+-----------+----------+------------+--------+--------+
//	| extent ID | length   | bytes of   | birth  | zero   |
//	|           |          | the file   |        |        |
//	+-----------+----------+------------+--------+--------+
const (
	catalogueMagic      uint32 = 0x4c454e44 // "DNEL"
	catalogueVersion    uint32 = 1
	catalogueHeadBytes         = 16
	catalogueEntryBytes        = 32

	// catalogueMin: so many extents that it does not list are not worth writing it: their footers are soon read.
	catalogueMin = 1024
	// catalogueShare: nor are fewer than one in so many of those that it lists.
	catalogueShare = 8
)

// catalogue is what is known of the file. Owned by Store.mu.
type catalogue struct {
	listed   int // extents in the file
	unlisted int // extents that could be in it and are not, or so many at most
	writing  bool
	writers  sync.WaitGroup
}

type listed struct {
	id ID
	nap
}

func appendCatalogue(buf []byte, all []listed) []byte {
	start := len(buf)
	le := binary.LittleEndian
	buf = le.AppendUint32(buf, catalogueMagic)
	buf = le.AppendUint32(buf, catalogueVersion)
	buf = le.AppendUint64(buf, uint64(len(all)))
	for _, e := range all {
		buf = le.AppendUint64(buf, uint64(e.id))
		buf = le.AppendUint64(buf, e.length)
		buf = le.AppendUint64(buf, uint64(e.fileBytes))
		buf = le.AppendUint32(buf, uint32(e.birth))
		buf = le.AppendUint32(buf, 0)
	}
	return le.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
}

// parseCatalogue verifies a catalogue and hands over each entry.
func parseCatalogue(buf []byte, each func(listed)) error {
	le := binary.LittleEndian
	if len(buf) < catalogueHeadBytes+4 {
		return fmt.Errorf("the catalogue has %d bytes", len(buf))
	}
	body, n := buf[:len(buf)-4], le.Uint64(buf[8:])
	if m, v := le.Uint32(buf), le.Uint32(buf[4:]); m != catalogueMagic || v != catalogueVersion {
		return fmt.Errorf("the catalogue begins with %#x and version %d", m, v)
	}
	if got, want := crc32.Checksum(body, castagnoli), le.Uint32(buf[len(body):]); got != want {
		return fmt.Errorf("the catalogue has checksum %#x, says %#x", got, want)
	}
	if body = body[catalogueHeadBytes:]; len(body)%catalogueEntryBytes != 0 || n != uint64(len(body)/catalogueEntryBytes) {
		return fmt.Errorf("the catalogue has %d bytes of entries, says %d of them", len(body), n)
	}
	for ; len(body) > 0; body = body[catalogueEntryBytes:] {
		each(listed{ID(le.Uint64(body)), nap{length: le.Uint64(body[8:]), fileBytes: int64(le.Uint64(body[16:])),
			birth: Birth(le.Uint32(body[24:])), known: true}})
	}
	return nil
}

// readCatalogue notes what the catalogue says of the files that are there. A catalogue that is not there, or cannot be
// used, says nothing; why is for the report.
func (s *Store) readCatalogue() (why error, err error) {
	if err := removeIfThere(s.fs, s.dir.catalogueTmp()); err != nil {
		return nil, err
	}
	f, err := s.fs.OpenRead(s.dir.catalogue())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf, err := readWhole(f)
	if err != nil {
		return nil, err
	}
	why = parseCatalogue(buf, func(e listed) {
		s.catalogue.listed++
		if _, there := s.asleep.naps[e.id]; there {
			s.asleep.put(e.id, e.nap)
		}
	})
	return why, nil
}

// noteSealed counts an extent that the catalogue lacks, and has it written once that is worth it.
func (s *Store) noteSealed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalogue.unlisted++
	if s.catalogue.writing || !s.catalogue.worthLocked() {
		return
	}
	s.catalogue.writing = true
	s.catalogue.writers.Go(s.writeCatalogue)
}

func (c *catalogue) worthLocked() bool {
	return c.unlisted >= max(catalogueMin, c.listed/catalogueShare)
}

// catalogueIfWorth writes the catalogue if much is not in it.
func (s *Store) catalogueIfWorth() {
	s.mu.Lock()
	worth := !s.catalogue.writing && s.catalogue.worthLocked() && s.Failed() == nil
	s.catalogue.writing = s.catalogue.writing || worth
	s.mu.Unlock()
	if worth {
		s.writeCatalogue()
	}
}

// writeCatalogue writes the catalogue anew. Without room the old one stays; any other failure is the store's (Failed).
func (s *Store) writeCatalogue() {
	all, covers := s.listSealed()
	err := s.replaceCatalogue(appendCatalogue(nil, all))
	full := vfs.IsNoSpace(err) && !errors.Is(err, errSyncFailed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalogue.writing = false
	switch {
	case err == nil:
		s.catalogue.listed = len(all)
		s.catalogue.unlisted -= covers
	case full: // it is tried again when as much has been sealed once more
		s.catalogue.unlisted -= covers
	default:
		s.failure("write catalogue", 0, distrust(err))
	}
}

// listSealed is what the catalogue is to say, and how many of those that it lacks are in it.
func (s *Store) listSealed() (all []listed, covers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = make([]listed, 0, len(s.asleep.naps)+len(s.extents))
	for id, n := range s.asleep.naps {
		if n.known {
			all = append(all, listed{id, n})
		}
	}
	for id, e := range s.extents {
		if st := e.snapshot(); e.waking.awake.Load() && st.tells() {
			all = append(all, listed{id, st.nap()})
		}
	}
	slices.SortFunc(all, func(a, b listed) int { return cmp.Compare(a.id, b.id) })
	return all, s.catalogue.unlisted
}

func (s *Store) replaceCatalogue(buf []byte) error {
	tmp := s.dir.catalogueTmp()
	if err := removeIfThere(s.fs, tmp); err != nil {
		return err
	}
	if err := createWith(s.fs, tmp, buf); err != nil {
		return err
	}
	if err := s.fs.Rename(tmp, s.dir.catalogue()); err != nil {
		return err
	}
	return syncDir(s.fs, string(s.dir))
}
