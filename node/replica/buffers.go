package replica

import (
	"math/bits"
	"sync"
)

// buffers keeps the buffers that clients' reads are made into, by the power of two that their size is within. It only
// saves garbage. Its methods may be called from any goroutine.
type buffers struct {
	pools [bufferClasses]sync.Pool // of *readBuffer
}

const (
	bufferClasses  = 20 // their logarithms; the largest are of 512 KiB
	leastBufferLog = 12
)

type readBuffer struct{ b []byte }

// take gives a buffer of n bytes.
func (s *buffers) take(n int) *readBuffer {
	class := max(bits.Len(uint(max(n, 1)-1)), leastBufferLog)
	if class >= bufferClasses {
		return &readBuffer{make([]byte, n)}
	}
	buf, ok := s.pools[class].Get().(*readBuffer)
	if !ok {
		buf = &readBuffer{make([]byte, 1<<class)}
	}
	buf.b = buf.b[:n]
	return buf
}

// put takes a buffer back that nobody uses any more.
func (s *buffers) put(buf *readBuffer) {
	if class := bits.Len(uint(cap(buf.b) - 1)); class < bufferClasses && cap(buf.b) == 1<<class {
		s.pools[class].Put(buf)
	}
}
