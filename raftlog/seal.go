package raftlog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// A record of the engine's, of whatever type, carries a seal in its field Extensions, which the engine stores and
// sends on as it is, and one with commands carries a base before it (integers are little-endian):
//
//	"DNB" | version u8 = 1 | index u64 | start of the chain there, 16 bytes
//	"DNS" | version u8 = 1 | CRC32C over index, term, type, time, data, base (u32)
//
// The base is where its leader stood when it made the record. Nobody applies a record whose base is not in its own
// history: the engine tells histories apart by their terms only, and two of them may have the same ones.
//
// An entry's own checksum is over its data only: it says nothing of where the entry belongs, and the engine's own
// entries have none. Records of builds before this one have no seal; they are taken for what their data says.
const (
	sealMark  = "DNS\x01"
	sealBytes = len(sealMark) + 4

	baseMark      = "DNB\x01"
	baseHashBytes = 16
	baseBytes     = len(baseMark) + 8 + baseHashBytes
)

// appendBase appends the base of a record that is made where the chain is at.
func appendBase(buf []byte, at ChainPoint) []byte {
	buf = binary.LittleEndian.AppendUint64(append(buf, baseMark...), uint64(at.Index))
	return append(buf, at.Hash[:baseHashBytes]...)
}

// splitBase is what precedes the seal, empty for nothing, and the seal.
func splitBase(extensions []byte) (base, seal []byte) {
	if len(extensions) < baseBytes || string(extensions[:len(baseMark)]) != baseMark {
		return nil, extensions
	}
	return extensions[:baseBytes], extensions[baseBytes:]
}

// baseOf is where the leader that made l stood, of whose chain hash is the start; false where l does not say.
func baseOf(l *raft.Log) (index state.Index, hash []byte, ok bool) {
	base, _ := splitBase(l.Extensions)
	if len(base) == 0 {
		return 0, nil, false
	}
	return state.Index(binary.LittleEndian.Uint64(base[len(baseMark):])), base[baseBytes-baseHashBytes:], true
}

// sealSum is the checksum in a seal of l.
func sealSum(l *raft.Log) uint32 {
	var head [33]byte
	binary.LittleEndian.PutUint64(head[:], l.Index)
	binary.LittleEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	binary.LittleEndian.PutUint64(head[17:], uint64(l.AppendedAt.Unix()))
	binary.LittleEndian.PutUint64(head[25:], uint64(l.AppendedAt.Nanosecond()))
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, l.Data)
	base, _ := splitBase(l.Extensions)
	return crc32.Update(sum, castagnoli, base)
}

// seal gives l a seal. Only who makes a record, or stores one of an older build, may: whoever passes a record on
// checks its seal, or damage would become sound.
func seal(l *raft.Log) {
	base, _ := splitBase(l.Extensions)
	sealed := append(append(make([]byte, 0, len(base)+sealBytes), base...), sealMark...)
	l.Extensions = binary.LittleEndian.AppendUint32(sealed, sealSum(l))
}

// checkRecord reports whether l is what was stored or sent. Errors are of type *CorruptError.
func checkRecord(l *raft.Log) error {
	index := state.Index(l.Index)
	if _, seal := splitBase(l.Extensions); len(seal) > 0 {
		if len(seal) != sealBytes || string(seal[:len(sealMark)]) != sealMark {
			return atIndex(index, corrupt("its seal is % x, want % x and a checksum", l.Extensions, sealMark))
		}
		if got, want := sealSum(l), binary.LittleEndian.Uint32(seal[len(sealMark):]); got != want {
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
