package guest

import "unsafe"

// The host hands over pointers alone; the header says how far the records reach. They are read and
// answered where they are: on WebAssembly, as on any little-endian machine, the structs of this package
// have the layout of the records, and the host aligns them to 8.

// score answers the n records of a score batch.
func (p *Policy) score(batch unsafe.Pointer, n uint32, out unsafe.Pointer) {
	h := (*header)(batch)
	for i := range n {
		record := unsafe.Add(batch, uint32(h.headerBytes)+i*h.stride)
		priority, reason := p.Score(whole(record, h.stride))
		*(*score)(unsafe.Add(out, i*h.answerStride)) = score{priority: priority, reason: uint16(reason)}
	}
}

// conflict answers the n records of a conflict batch.
func (p *Policy) conflict(batch unsafe.Pointer, n uint32, out unsafe.Pointer) {
	h := (*header)(batch)
	for i := range n {
		record := unsafe.Add(batch, uint32(h.headerBytes)+i*h.stride)
		existing := whole(unsafe.Add(record, pairPrefixBytes), h.factsStride)
		incoming := whole(unsafe.Add(record, pairPrefixBytes+h.factsStride), h.factsStride)
		verdict, reason := p.Conflict(existing, incoming, *(*byte)(record) == 1)
		*(*resolution)(unsafe.Add(out, i*h.answerStride)) = resolution{verdict: verdict, reason: uint16(reason)}
	}
}

// whole gives the facts of a record: in place, or, where the host's are shorter than this package knows
// them, copied with zeros behind.
func whole(record unsafe.Pointer, size uint32) *Facts {
	if size >= factsBytes {
		return (*Facts)(record)
	}
	f := new(Facts)
	copy((*[factsBytes]byte)(unsafe.Pointer(f))[:size], unsafe.Slice((*byte)(record), size))
	return f
}
