package raftlog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// A record of the engine's, of whatever type, carries a seal in its field Extensions, which the engine stores and
// sends on as it is:
//
//	"DNS" | version u8 = 1 | CRC32C over index, term, type, time, data (u32, little-endian)
//
// An entry's own checksum is over its data only: it says nothing of where the entry belongs, and the engine's own
// entries have none. Records of builds before this one have no seal; they are taken for what their data says.
const (
	sealMark  = "DNS\x01"
	sealBytes = len(sealMark) + 4
)

// sealSum is the checksum in a seal of l.
func sealSum(l *raft.Log) uint32 {
	var head [33]byte
	binary.LittleEndian.PutUint64(head[:], l.Index)
	binary.LittleEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	binary.LittleEndian.PutUint64(head[17:], uint64(l.AppendedAt.Unix()))
	binary.LittleEndian.PutUint64(head[25:], uint64(l.AppendedAt.Nanosecond()))
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, l.Data)
}

// seal gives l a seal. Only who makes a record, or stores one of an older build, may: whoever passes a record on
// checks its seal, or damage would become sound.
func seal(l *raft.Log) {
	l.Extensions = binary.LittleEndian.AppendUint32(append(make([]byte, 0, sealBytes), sealMark...), sealSum(l))
}

// checkRecord tells whether l is what was stored or sent. Errors are of type *CorruptError.
func checkRecord(l *raft.Log) error {
	index := state.Index(l.Index)
	if len(l.Extensions) > 0 {
		if len(l.Extensions) != sealBytes || string(l.Extensions[:len(sealMark)]) != sealMark {
			return atIndex(index, corrupt("its seal is % x, want % x and a checksum", l.Extensions, sealMark))
		}
		if got, want := sealSum(l), binary.LittleEndian.Uint32(l.Extensions[len(sealMark):]); got != want {
			return atIndex(index, corrupt("the checksum of its seal is %08x, want %08x", got, want))
		}
	}
	var err error
	switch l.Type {
	case raft.LogNoop, raft.LogBarrier:
	case raft.LogConfiguration:
		_, err = parseConfiguration(l.Data)
	case raft.LogCommand:
		var rest []byte
		if rest, _, err = ParseEntry(l.Data); err == nil && len(rest) != 0 {
			err = corrupt("%d bytes follow it", len(rest))
		}
	default:
		err = corrupt("its type is %d, and the engine makes no such", l.Type)
	}
	if err != nil {
		return atIndex(index, err)
	}
	return nil
}

// parseConfiguration is the engine's, which panics.
func parseConfiguration(b []byte) (c raft.Configuration, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = corrupt("it is no configuration: %v", r)
		}
	}()
	return raft.DecodeConfiguration(b), nil
}
