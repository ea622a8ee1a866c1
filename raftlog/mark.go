package raftlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

// A mark is the last entry that this node is known to have applied, and the chain there. It is kept in a file beside
// the log's folder, so that a log which was put back to an earlier time, or replaced, is known for what it is:
//
//	two slots, markSlotBytes apart, written in turns; the one of the higher count is the newer one
//
//	+-------+-------+-------+-------+--------+
//	| magic | count | index | chain | CRC32C |
//	| 4     | u64   | u64   | 32    | u32    |
//	+-------+-------+-------+-------+--------+
//
// Integers are little-endian. An entry is in the log, synced, before it is applied, so a mark is never ahead of the
// log that it belongs to, whenever it reaches the disk.
type mark = ChainPoint

const (
	markMagic     = "DNAM"
	markBytes     = len(markMagic) + 8 + 8 + sha256.Size + 4
	markSlotBytes = 4096 // a write that is torn leaves the other slot as it is
	markSlots     = 2
	// markSuffix follows the name of the log's folder in that of its mark.
	markSuffix = ".applied"
	// markEvery is how often a changed mark is written, markSyncEvery how often it is synced. What is lost with
	// them is only how far back a log could be put without being found out at the start.
	markEvery     = 200 * time.Millisecond
	markSyncEvery = time.Second
)

func markPath(dir string) string { return filepath.Clean(dir) + markSuffix }

func appendMark(buf []byte, count uint64, m mark) []byte {
	start := len(buf)
	buf = append(buf, markMagic...)
	buf = binary.LittleEndian.AppendUint64(buf, count)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(m.Index))
	buf = append(buf, m.Hash[:]...)
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
}

func parseMark(b []byte) (count uint64, m mark, ok bool) {
	if len(b) < markBytes || string(b[:len(markMagic)]) != markMagic {
		return 0, m, false
	}
	body := b[:markBytes-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[markBytes-4:]) {
		return 0, m, false
	}
	m.Index = state.Index(binary.LittleEndian.Uint64(b[len(markMagic)+8:]))
	copy(m.Hash[:], b[len(markMagic)+16:])
	return binary.LittleEndian.Uint64(b[len(markMagic):]), m, true
}

// newestMark is the newer one of those in a file; not sound where none can be read.
func newestMark(raw []byte) (last mark, count uint64, sound bool) {
	for at := 0; at < len(raw) && at < markSlots*markSlotBytes; at += markSlotBytes {
		if n, m, ok := parseMark(raw[at:]); ok && n > count {
			last, count, sound = m, n, true
		}
	}
	return last, count, sound
}

// markFile keeps the mark. A nil one keeps nothing: logs in memory have none. All but openMark may be called from any
// goroutine.
type markFile struct {
	mu    sync.Mutex
	f     *os.File // under mu
	count uint64   // under mu; of the last mark that was written
}

// openMark opens the mark of the log in dir, and makes room for one where there is none. damaged says that there is
// one that cannot be read.
func openMark(dir string) (f *markFile, last mark, damaged bool, err error) {
	path := markPath(dir)
	if err := ownDir(filepath.Dir(path)); err != nil {
		return nil, last, false, err
	}
	raw, err := os.ReadFile(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return nil, last, false, err
	}
	f = &markFile{}
	var sound bool
	last, f.count, sound = newestMark(raw)
	damaged = !fresh && !sound
	if f.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, filePerm); err != nil {
		return nil, last, damaged, err
	}
	if len(raw) < markSlots*markSlotBytes {
		// Whole from the beginning, so that a disk which is full later has room for it.
		grown := append(raw, make([]byte, markSlots*markSlotBytes-len(raw))...)
		_, err = f.f.WriteAt(grown, 0)
		err = errors.Join(err, f.f.Sync(), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		return nil, last, damaged, errors.Join(err, f.f.Close())
	}
	return f, last, damaged, nil
}

func (f *markFile) write(m mark, sync bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	slot := int64(f.count%markSlots) * markSlotBytes
	if _, err := f.f.WriteAt(appendMark(nil, f.count, m), slot); err != nil {
		return err
	}
	if sync {
		return f.f.Sync()
	}
	return nil
}

func (f *markFile) close() error {
	if f == nil {
		return nil
	}
	return f.f.Close()
}

// keepMark writes down how far entries are applied, beside all else: applying waits for nothing. It ends with the
// group. What goes wrong is said once; the log does not depend on it.
func (g *Group) keepMark() {
	defer g.watching.Done()
	var last mark
	synced := g.cfg.Now()
	said := false
	write := func(sync bool) {
		m := g.Chain()
		if m == last || m.Index < g.machine.expected().Index {
			return // nothing new, or a log that is being filled again: the old mark says more
		}
		if err := g.mark.write(m, sync); err != nil {
			if !said {
				g.cfg.Logger.Warn("cannot note which entries are applied", "file", markPath(g.cfg.Dir), "error", err)
			}
			said = true
			return
		}
		last = m
	}
	pause := time.NewTicker(markEvery)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
			sync := g.cfg.Now().Sub(synced) >= markSyncEvery
			write(sync)
			if sync {
				synced = g.cfg.Now()
			}
		case <-g.failed:
			return // its disk may hang, its state may be the wrong one
		case <-g.closing:
			write(true)
			return
		}
	}
}
