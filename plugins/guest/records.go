package guest

import "encoding/binary"

// Sizes of the records of ABI v1, in bytes. Records grow at their end only: a longer one is read as
// far as this package knows it, a shorter one as if zeros followed.
const (
	headerBytes     = 24
	factsBytes      = 80
	pairPrefixBytes = 8
	answerBytes     = 8
)

// batch is what the host hands over: a header, and records one stride apart.
type batch struct {
	records      []byte
	count        int
	stride       int
	factsStride  int
	answerStride int
}

// parseBatch reads a header and finds the records behind it. more gives the first n bytes of the
// batch, which is how its length becomes known: the host passes a pointer alone.
func parseBatch(more func(n int) []byte) batch {
	le := binary.LittleEndian
	h := more(headerBytes)
	first := int(le.Uint16(h[2:]))
	b := batch{
		stride:       int(le.Uint32(h[4:])),
		count:        int(le.Uint32(h[8:])),
		factsStride:  int(le.Uint32(h[12:])),
		answerStride: int(le.Uint32(h[16:])),
	}
	b.records = more(first + b.count*b.stride)[first:]
	return b
}

func (b *batch) record(i int) []byte { return b.records[i*b.stride : (i+1)*b.stride] }

// score answers the batch into out, which holds count*answerStride bytes.
func (p *Policy) score(b batch, out []byte) {
	le := binary.LittleEndian
	var f Facts
	for i := range b.count {
		f.parse(b.record(i))
		priority, reason := p.Score(&f)
		answer := out[i*b.answerStride:]
		le.PutUint32(answer, uint32(priority))
		le.PutUint32(answer[4:], uint32(reason))
	}
}

// conflict answers the batch into out, which holds count*answerStride bytes.
func (p *Policy) conflict(b batch, out []byte) {
	le := binary.LittleEndian
	var existing, incoming Facts
	for i := range b.count {
		record := b.record(i)
		sameNode := record[0] == 1
		existing.parse(record[pairPrefixBytes : pairPrefixBytes+b.factsStride])
		incoming.parse(record[pairPrefixBytes+b.factsStride:])
		verdict, reason := p.Conflict(&existing, &incoming, sameNode)
		answer := out[i*b.answerStride:]
		le.PutUint32(answer, uint32(verdict)|uint32(reason)<<16)
		le.PutUint32(answer[4:], 0)
	}
}

// parse reads one facts record.
//
//	 0 u64 OpIndex          40 u32 OpPlace        56 u8 Kind        60 u8 ExtentOpen, 0 or 1
//	 8 u64 Extent           44 u32 QueuedOps      57 u8 Phase       61 u8 LiveReplicas
//	16 u64 LengthBytes      48 u32 RunningOps     58 u8 Origin      62 u8 WantReplicas
//	24 i64 NowMicros        52 u32 RunningSame    59 u8 Attempts    63 u8 zero
//	32 i64 WaitingMicros    64 u8[16] Class, zero padded
func (f *Facts) parse(record []byte) {
	if len(record) < factsBytes {
		record = append(make([]byte, 0, factsBytes), record...)[:factsBytes]
	}
	b := (*[factsBytes]byte)(record)
	le := binary.LittleEndian
	f.OpIndex = le.Uint64(b[0:])
	f.Extent = le.Uint64(b[8:])
	f.LengthBytes = le.Uint64(b[16:])
	f.NowMicros = int64(le.Uint64(b[24:]))
	f.WaitingMicros = int64(le.Uint64(b[32:]))
	f.OpPlace = le.Uint32(b[40:])
	f.QueuedOps = le.Uint32(b[44:])
	f.RunningOps = le.Uint32(b[48:])
	f.RunningSame = le.Uint32(b[52:])
	f.Kind = Kind(b[56])
	f.Phase = Phase(b[57])
	f.Origin = Origin(b[58])
	f.Attempts = b[59]
	f.ExtentOpen = b[60] == 1
	f.LiveReplicas = b[61]
	f.WantReplicas = b[62]
	copy(f.Class[:], b[64:])
}
