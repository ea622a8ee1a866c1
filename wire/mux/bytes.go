package mux

import (
	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/wire"
)

// Bytes are raw bytes to be sent: in parts, which need not lie side by side, and with their CRC32C where it is known,
// so that they are not summed again for their frame. A sum that is wrong makes a frame that the peer does not believe,
// and ends the connection.
type Bytes struct {
	Parts  [][]byte
	Sum    uint32
	Summed bool
}

// Len is how many bytes these are.
func (b *Bytes) Len() int {
	n := 0
	for _, p := range b.Parts {
		n += len(p)
	}
	return n
}

// onePart is raw as the only part, without an allocation for it.
func (h *half) onePart(raw []byte) Bytes {
	if len(raw) == 0 {
		return Bytes{}
	}
	h.one[0] = raw
	return Bytes{Parts: h.one[:]}
}

// summed is onePart of bytes that have this sum.
func (h *half) summed(p []byte, sum uint32) Bytes {
	b := h.onePart(p)
	b.Sum, b.Summed = sum, true
	return b
}

// sumOf is the CRC32C of raw bytes in parts.
func sumOf(first []byte, more [][]byte) uint32 {
	sum := crc32c.Sum(first)
	for _, p := range more {
		sum = crc32c.Update(sum, p)
	}
	return sum
}

// received is the sum of raw bytes that came in a frame: it is looked up at once, while the frame is there, if it is
// known, and made when it is asked for, if it is not.
type received struct {
	sum   uint32
	known bool
}

// sumOfFrame keeps the sum of a frame's raw bytes where the check of the frame has found it.
func sumOfFrame(f *wire.Frame) received {
	sum, known := f.RawSum()
	return received{sum, known}
}

func (r received) of(raw []byte) uint32 {
	if r.known {
		return r.sum
	}
	return crc32c.Sum(raw)
}
