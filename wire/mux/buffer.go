package mux

import (
	"math/bits"
	"sync"
)

const (
	minBufferBits = 10
	maxBufferBits = 21
	// bufferSlack lets a payload of a power of two and its frame fit the class of that power.
	bufferSlack = 256
)

// bufferPools keeps buffers of 1<<bits + bufferSlack bytes; it only saves garbage.
var bufferPools [maxBufferBits + 1]sync.Pool

// buffer is a pooled byte slice. Whoever holds it may append, and calls free once.
type buffer struct {
	b       []byte
	account *account // that has been charged for it; nil: none
	charged int      // bytes
}

// newBuffer gives an empty buffer with room for n bytes.
func newBuffer(n int) *buffer {
	class := bufferClass(n)
	if class > maxBufferBits {
		return &buffer{b: make([]byte, 0, n)}
	}
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		b.b = b.b[:0]
		return b
	}
	return &buffer{b: make([]byte, 0, 1<<class+bufferSlack)}
}

// free gives the buffer back. A nil buffer is fine.
func (b *buffer) free() {
	if b == nil {
		return
	}
	if b.account != nil {
		b.account.give(b.charged)
		b.account, b.charged = nil, 0
	}
	class := bits.Len(uint(max(cap(b.b)-bufferSlack, 0))) - 1 // rounds down: a buffer that grew serves a smaller class
	if class >= minBufferBits && class <= maxBufferBits && cap(b.b) <= 2<<class+bufferSlack {
		bufferPools[class].Put(b)
	}
}

func bufferClass(n int) int {
	return max(bits.Len(uint(max(n-bufferSlack, 1)-1)), minBufferBits)
}
