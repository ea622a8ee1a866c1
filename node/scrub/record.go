package scrub

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
)

// record is what a node remembers of its scrub through a restart. Losing it costs one round.
//
// All integers are little-endian; times are seconds since 1970, 0 for never.
//
//	 0        4         8          16          24          32        40                    -4
//	+--------+---------+----------+-----------+-----------+---------+---------------------+--------+
//	| magic  | version | round    | last full | log       | number  | extent ID, when     | CRC32C |
//	| "DNSC" | 1       | began    | round     | verified  |         | verified (8 + 8)... |        |
//	+--------+---------+----------+-----------+-----------+---------+---------------------+--------+
type record struct {
	began    int64 // of the round under way; 0 when none is
	full     int64 // when the last round had read everything
	log      int64 // when the log was last found to be what it should be
	verified map[state.ExtentID]int64
}

const (
	recordMagic   = 0x43534e44 // "DNSC"
	recordVersion = 1
	headerBytes   = 40
	entryBytes    = 16
	fileLimit     = 1 << 30
)

func newRecord() record { return record{verified: map[state.ExtentID]int64{}} }

func appendRecord(buf []byte, r record) []byte {
	start, le := len(buf), binary.LittleEndian
	buf = slices.Grow(buf, headerBytes+entryBytes*len(r.verified)+4)
	buf = le.AppendUint32(buf, recordMagic)
	buf = le.AppendUint32(buf, recordVersion)
	for _, at := range []int64{r.began, r.full, r.log, int64(len(r.verified))} {
		buf = le.AppendUint64(buf, uint64(at))
	}
	for _, id := range slices.Sorted(maps.Keys(r.verified)) {
		buf = le.AppendUint64(buf, uint64(id))
		buf = le.AppendUint64(buf, uint64(r.verified[id]))
	}
	return le.AppendUint32(buf, crc32.Checksum(buf[start:], crc32.MakeTable(crc32.Castagnoli)))
}

func parseRecord(buf []byte) (record, error) {
	le, r := binary.LittleEndian, newRecord()
	if len(buf) < headerBytes+4 {
		return r, fmt.Errorf("%d bytes, want %d at least", len(buf), headerBytes+4)
	}
	body := buf[:len(buf)-4]
	if got, want := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), le.Uint32(buf[len(body):]); got != want {
		return r, fmt.Errorf("checksum %#x, says %#x", got, want)
	}
	if m, v := le.Uint32(body), le.Uint32(body[4:]); m != recordMagic || v != recordVersion {
		return r, fmt.Errorf("begins with %#x, version %d; want %#x, version %d", m, v, recordMagic, recordVersion)
	}
	entries := body[headerBytes:]
	if n := le.Uint64(body[32:]); len(entries)%entryBytes != 0 || n != uint64(len(entries)/entryBytes) {
		return r, fmt.Errorf("says %d extents in %d bytes", n, len(entries))
	}
	r.began, r.full, r.log = int64(le.Uint64(body[8:])), int64(le.Uint64(body[16:])), int64(le.Uint64(body[24:]))
	for ; len(entries) > 0; entries = entries[entryBytes:] {
		r.verified[state.ExtentID(le.Uint64(entries))] = int64(le.Uint64(entries[8:]))
	}
	return r, nil
}

func (s *Scrubber) load() {
	p, err := vfs.ReadFile(s.opt.FS, s.opt.File, fileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var r record
	if err == nil {
		r, err = parseRecord(p)
	}
	if err != nil {
		s.opt.Logger.Warn("dates of the scrub are lost, it begins anew", "file", s.opt.File, "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = r
	s.dropFutureLocked(s.opt.Clock.Now().Unix())
}

// dropFutureLocked forgets dates that are still to come: the clock was set back since, and would have them stand for
// long. The caller holds mu.
func (s *Scrubber) dropFutureLocked(now int64) {
	for _, at := range []*int64{&s.record.began, &s.record.full, &s.record.log} {
		if *at > now {
			*at = 0
		}
	}
	maps.DeleteFunc(s.record.verified, func(_ state.ExtentID, at int64) bool { return at > now })
}

// save writes what is remembered. A failure loses only that, and a full disk is no news from here.
func (s *Scrubber) save() {
	view := s.opt.View()
	s.mu.Lock()
	maps.DeleteFunc(s.record.verified, func(id state.ExtentID, _ int64) bool {
		e := view.Extent(id)
		if e == nil {
			return true
		}
		_, holds := e.Replica(s.opt.ID)
		return !holds
	})
	p := appendRecord(nil, s.record)
	s.mu.Unlock()
	s.saved = s.opt.Clock.Now()
	if err := vfs.ReplaceFile(s.opt.FS, s.opt.File, p); err != nil {
		s.opt.Logger.Debug("dates of the scrub not written", "error", err)
	}
}

// VerifiedAt is when this node has last read its whole replica and found it to be what the log has; zero for never.
func (s *Scrubber) VerifiedAt(id state.ExtentID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return unixTime(s.record.verified[id])
}

func unixTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
