package raftlog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/datanode/datanode/raftlog/state"
)

// GroupID numbers a raft group. A cell has one, so far; entries carry it so that a cell can be split.
type GroupID uint64

const cellGroup GroupID = 1

// EntryType says what the body is. Numbered by hand: never reused, only appended.
type EntryType uint8

// EntryCommands is the type whose body is a list of commands.
const EntryCommands EntryType = 1

const (
	// entryVersion is the highest there is. An entry's version is the level of its commands, so that
	// a node which would get them wrong stops instead.
	entryVersion = uint8(state.LevelNow)
	// flagIgnorable marks an entry that a node which does not know it may skip.
	flagIgnorable = 1 << 0

	entryHeadBytes = 4 + 1 + 1 + 2 + 8 + 8 + 4
	entryTailBytes = 4
	// maxBodyBytes bounds what ParseEntry accepts; the committer makes smaller ones.
	maxBodyBytes = 16 << 20
)

var (
	entryMagic = [4]byte{'D', 'N', 'L', 'E'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Entry is one record of the operation log.
type Entry struct {
	Version   uint8 // a state.Level
	Type      EntryType
	Ignorable bool
	Group     GroupID
	Micros    state.Micros // the leader's time
	Body      []byte
}

// known reports whether this build can read the body.
func (e *Entry) known() bool { return e.Version <= entryVersion && e.Type == EntryCommands }

// AppendEntry appends e as it is in the log. Version 0 means the first one.
func AppendEntry(buf []byte, e Entry) []byte {
	start := len(buf)
	if e.Version == 0 {
		e.Version = uint8(state.LevelFirst)
	}
	var flags uint16
	if e.Ignorable {
		flags |= flagIgnorable
	}
	buf = append(buf, entryMagic[:]...)
	buf = append(buf, e.Version, byte(e.Type))
	buf = binary.LittleEndian.AppendUint16(buf, flags)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(e.Group))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(e.Micros))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(e.Body)))
	buf = append(buf, e.Body...)
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
}

// ParseEntry reads one entry. Its body aliases buf. Every error is a *CorruptError: an entry of a
// later version is not an error here.
func ParseEntry(buf []byte) (rest []byte, e Entry, err error) {
	if len(buf) < entryHeadBytes+entryTailBytes {
		return nil, Entry{}, corrupt("%d bytes are too few for an entry, which has at least %d", len(buf),
			entryHeadBytes+entryTailBytes)
	}
	if [4]byte(buf) != entryMagic {
		return nil, Entry{}, corrupt("starts with % x, want % x", buf[:4], entryMagic)
	}
	length := binary.LittleEndian.Uint32(buf[entryHeadBytes-4:])
	if length > maxBodyBytes || int(length) > len(buf)-entryHeadBytes-entryTailBytes {
		return nil, Entry{}, corrupt("declares a body of %d bytes, and %d bytes follow", length, len(buf)-entryHeadBytes)
	}
	end := entryHeadBytes + int(length)
	want := binary.LittleEndian.Uint32(buf[end:])
	if got := crc32.Checksum(buf[:end], castagnoli); got != want {
		return nil, Entry{}, corrupt("checksum is %08x, want %08x", got, want)
	}
	flags := binary.LittleEndian.Uint16(buf[6:])
	return buf[end+entryTailBytes:], Entry{
		Version:   buf[4],
		Type:      EntryType(buf[5]),
		Ignorable: flags&flagIgnorable != 0,
		Group:     GroupID(binary.LittleEndian.Uint64(buf[8:])),
		Micros:    state.Micros(binary.LittleEndian.Uint64(buf[16:])),
		Body:      buf[entryHeadBytes:end],
	}, nil
}
