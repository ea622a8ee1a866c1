package guest

import "encoding/binary"

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
	b, first := parseHeader(more(headerBytes))
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
