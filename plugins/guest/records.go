package guest

import "unsafe"

// The host hands over pointers alone; the header says how far the records reach. They are read and
// answered where they are: on WebAssembly, as on any little-endian machine, the structs of this package
// have the layout of the records, and the host aligns them to 8. What all rounds of a loop have in common
// is read once, before it: Go would do so again after each call of the policy.

// score answers the n records of a score batch.
func (p *Policy) score(batch unsafe.Pointer, n uint32, out unsafe.Pointer) {
	h, ask := (*header)(batch), p.Score
	records, stride, answerStride := unsafe.Add(batch, h.headerBytes), h.stride, h.answerStride
	for i := range n {
		priority, reason := ask(whole(unsafe.Add(records, i*stride), stride))
		*(*score)(unsafe.Add(out, i*answerStride)) = score{priority: priority, reason: uint16(reason)}
	}
}

// conflict answers the n records of a conflict batch.
func (p *Policy) conflict(batch unsafe.Pointer, n uint32, out unsafe.Pointer) {
	h, ask := (*header)(batch), p.Conflict
	records, stride, answerStride := unsafe.Add(batch, h.headerBytes), h.stride, h.answerStride
	size := h.factsStride
	for i := range n {
		record := unsafe.Add(records, i*stride)
		existing := whole(unsafe.Add(record, pairPrefixBytes), size)
		incoming := whole(unsafe.Add(record, pairPrefixBytes+size), size)
		verdict, reason := ask(existing, incoming, *(*byte)(record) == 1)
		*(*resolution)(unsafe.Add(out, i*answerStride)) = resolution{verdict: verdict, reason: uint16(reason)}
	}
}

// whole gives the facts of a record: in place, or, where the host's are shorter than this package knows
// them, copied with zeros behind.
func whole(record unsafe.Pointer, size uint32) *Facts {
	if size >= factsBytes {
		return (*Facts)(record)
	}
	return padded(record, size)
}

// padded is kept out of the loops: metered, each of their rounds would pay for it.
//
//go:noinline
func padded(record unsafe.Pointer, size uint32) *Facts {
	f := new(Facts)
	copy((*[factsBytes]byte)(unsafe.Pointer(f))[:size], unsafe.Slice((*byte)(record), size))
	return f
}
