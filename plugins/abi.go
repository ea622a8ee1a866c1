package plugins

import (
	"encoding/binary"
	"fmt"

	"github.com/datanode/datanode/policies"
)

// Sizes of the records of ABI v1, in bytes. Everything is little-endian and 8-byte aligned.
//
//	a score batch     header | facts * count          answered by score * count
//	a conflict batch  header | pair * count           answered by resolution * count
//
// A record only ever grows at its end. Readers walk by the strides of the header, never by the sizes
// below, so that a guest of today reads the records of tomorrow; what a record does not reach is zero.
const (
	abiVersion      = 1
	headerBytes     = 24
	factsBytes      = 80
	pairPrefixBytes = 8
	pairBytes       = pairPrefixBytes + 2*factsBytes
	answerBytes     = 8 // one score or one resolution

	// batchMost is how many records a guest is ever handed at once.
	batchMost = 256
)

// header stands before the records of a batch.
//
//	 0 u16 version       1
//	 2 u16 headerBytes   24: the first record starts here
//	 4 u32 stride        from one record to the next
//	 8 u32 count         records, 1..256
//	12 u32 factsStride   from one facts to the next within a pair; stride in a score batch
//	16 u32 answerStride  from one answer to the next
//	20 u32 zero
type header struct {
	version      uint16
	bytes        uint16
	stride       uint32
	count        uint32
	factsStride  uint32
	answerStride uint32
}

func (h header) valid() error {
	switch {
	case h.version != abiVersion:
		return fmt.Errorf("batch version %d, want %d", h.version, abiVersion)
	case h.bytes < headerBytes:
		return fmt.Errorf("batch header of %d bytes, want %d or more", h.bytes, headerBytes)
	case h.factsStride < factsBytes:
		return fmt.Errorf("facts stride %d, want %d or more", h.factsStride, factsBytes)
	case h.answerStride < answerBytes:
		return fmt.Errorf("answer stride %d, want %d or more", h.answerStride, answerBytes)
	case h.count == 0 || h.count > batchMost:
		return fmt.Errorf("batch of %d records, want 1 to %d", h.count, batchMost)
	}
	return nil
}

func scoreHeader(n int) header {
	return header{abiVersion, headerBytes, factsBytes, uint32(n), factsBytes, answerBytes}
}

func conflictHeader(n int) header {
	return header{abiVersion, headerBytes, pairBytes, uint32(n), factsBytes, answerBytes}
}

func appendHeader(buf []byte, h header) []byte {
	le := binary.LittleEndian
	buf = le.AppendUint16(buf, h.version)
	buf = le.AppendUint16(buf, h.bytes)
	buf = le.AppendUint32(buf, h.stride)
	buf = le.AppendUint32(buf, h.count)
	buf = le.AppendUint32(buf, h.factsStride)
	buf = le.AppendUint32(buf, h.answerStride)
	return le.AppendUint32(buf, 0)
}

func parseHeader(buf []byte) (rest []byte, h header, err error) {
	if len(buf) < headerBytes {
		return nil, h, shortRecord("header", len(buf), headerBytes)
	}
	le := binary.LittleEndian
	h = header{le.Uint16(buf), le.Uint16(buf[2:]), le.Uint32(buf[4:]), le.Uint32(buf[8:]),
		le.Uint32(buf[12:]), le.Uint32(buf[16:])}
	if err := h.valid(); err != nil {
		return nil, h, err
	}
	if len(buf) < int(h.bytes) {
		return nil, h, shortRecord("header", len(buf), int(h.bytes))
	}
	return buf[h.bytes:], h, nil
}

// AppendFacts appends one facts record.
//
//	 0 u64 OpIndex          40 u32 OpPlace        56 u8 Kind        60 u8 ExtentOpen, 0 or 1
//	 8 u64 Extent           44 u32 QueuedOps      57 u8 Phase       61 u8 LiveReplicas
//	16 u64 LengthBytes      48 u32 RunningOps     58 u8 Origin      62 u8 WantReplicas
//	24 i64 NowMicros        52 u32 RunningSame    59 u8 Attempts    63 u8 zero
//	32 i64 WaitingMicros    64 u8[16] Class, zero padded
func AppendFacts(buf []byte, f *policies.Facts) []byte {
	le := binary.LittleEndian
	buf = le.AppendUint64(buf, f.OpIndex)
	buf = le.AppendUint64(buf, f.Extent)
	buf = le.AppendUint64(buf, f.LengthBytes)
	buf = le.AppendUint64(buf, uint64(f.NowMicros))
	buf = le.AppendUint64(buf, uint64(f.WaitingMicros))
	buf = le.AppendUint32(buf, f.OpPlace)
	buf = le.AppendUint32(buf, f.QueuedOps)
	buf = le.AppendUint32(buf, f.RunningOps)
	buf = le.AppendUint32(buf, f.RunningSame)
	buf = append(buf, byte(f.Kind), byte(f.Phase), byte(f.Origin), f.Attempts,
		bit(f.ExtentOpen), f.LiveReplicas, f.WantReplicas, 0)
	return append(buf, f.Class[:]...)
}

// ParseFacts is the inverse of AppendFacts.
func ParseFacts(buf []byte) (rest []byte, f policies.Facts, err error) {
	if len(buf) < factsBytes {
		return nil, f, shortRecord("facts", len(buf), factsBytes)
	}
	if buf[60] > 1 || buf[63] != 0 {
		return nil, f, fmt.Errorf("facts: bytes 60 and 63 are %d and %d, want 0 or 1, and 0", buf[60], buf[63])
	}
	le := binary.LittleEndian
	f = policies.Facts{
		OpIndex: le.Uint64(buf), Extent: le.Uint64(buf[8:]), LengthBytes: le.Uint64(buf[16:]),
		NowMicros: int64(le.Uint64(buf[24:])), WaitingMicros: int64(le.Uint64(buf[32:])),
		OpPlace: le.Uint32(buf[40:]), QueuedOps: le.Uint32(buf[44:]),
		RunningOps: le.Uint32(buf[48:]), RunningSame: le.Uint32(buf[52:]),
		Kind: policies.Kind(buf[56]), Phase: policies.Phase(buf[57]), Origin: policies.Origin(buf[58]),
		Attempts: buf[59], ExtentOpen: buf[60] == 1, LiveReplicas: buf[61], WantReplicas: buf[62],
	}
	copy(f.Class[:], buf[64:])
	return buf[factsBytes:], f, nil
}

// AppendPair appends one pair record. The existing facts end where factsStride says, which is what
// lets facts grow within a pair.
//
//	0 u8 SameNode, 0 or 1    1 u8[7] zero    8 facts Existing    8+factsStride facts Incoming
func AppendPair(buf []byte, p *policies.Pair) []byte {
	buf = append(buf, bit(p.SameNode), 0, 0, 0, 0, 0, 0, 0)
	buf = AppendFacts(buf, &p.Existing)
	return AppendFacts(buf, &p.Incoming)
}

// ParsePair is the inverse of AppendPair.
func ParsePair(buf []byte) (rest []byte, p policies.Pair, err error) {
	if len(buf) < pairBytes {
		return nil, p, shortRecord("pair", len(buf), pairBytes)
	}
	if prefix := binary.LittleEndian.Uint64(buf); prefix > 1 {
		return nil, p, fmt.Errorf("pair: prefix %#x, want 0 or 1", prefix)
	}
	p.SameNode = buf[0] == 1
	if rest, p.Existing, err = ParseFacts(buf[pairPrefixBytes:]); err != nil {
		return nil, p, err
	}
	rest, p.Incoming, err = ParseFacts(rest)
	return rest, p, err
}

// AppendScore appends one score: 0 i32 Priority, 4 u16 Reason, 6 u16 zero.
func AppendScore(buf []byte, s policies.Score) []byte {
	le := binary.LittleEndian
	buf = le.AppendUint32(buf, uint32(s.Priority))
	buf = le.AppendUint16(buf, s.Reason)
	return le.AppendUint16(buf, 0)
}

// ParseScore is the inverse of AppendScore. It refuses bytes that must be zero and are not.
func ParseScore(buf []byte) (rest []byte, s policies.Score, err error) {
	if len(buf) < answerBytes {
		return nil, s, shortRecord("score", len(buf), answerBytes)
	}
	le := binary.LittleEndian
	s = policies.Score{Priority: int32(le.Uint32(buf)), Reason: le.Uint16(buf[4:])}
	if pad := le.Uint16(buf[6:]); pad != 0 {
		return nil, policies.Score{}, fmt.Errorf("score: bytes 6 and 7 are %#x, want 0", pad)
	}
	return buf[answerBytes:], s, nil
}

// AppendResolution appends one resolution: 0 u8 Verdict, 1 u8 zero, 2 u16 Reason, 4 u32 zero.
func AppendResolution(buf []byte, r policies.Resolution) []byte {
	le := binary.LittleEndian
	buf = append(buf, byte(r.Verdict), 0)
	buf = le.AppendUint16(buf, r.Reason)
	return le.AppendUint32(buf, 0)
}

// ParseResolution is the inverse of AppendResolution. It refuses a verdict that is none.
func ParseResolution(buf []byte) (rest []byte, r policies.Resolution, err error) {
	if len(buf) < answerBytes {
		return nil, r, shortRecord("resolution", len(buf), answerBytes)
	}
	le := binary.LittleEndian
	v := policies.Verdict(buf[0])
	if v < policies.Coexist || v > policies.Reject {
		return nil, r, fmt.Errorf("resolution: verdict %d, want %d to %d", v, policies.Coexist, policies.Reject)
	}
	if buf[1] != 0 || le.Uint32(buf[4:]) != 0 {
		return nil, r, fmt.Errorf("resolution: bytes 1 and 4 to 7 are %#x and %#x, want 0", buf[1], le.Uint32(buf[4:]))
	}
	r = policies.Resolution{Verdict: v, Reason: le.Uint16(buf[2:])}
	return buf[answerBytes:], r, nil
}

func shortRecord(what string, have, want int) error {
	return fmt.Errorf("%s of %d bytes, want %d", what, have, want)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
