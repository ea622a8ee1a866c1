package replica

import (
	"math/bits"
	"sync"

	"github.com/datanode/datanode/node/extent"
)

// buffers keeps the buffers that clients' reads are made into, by their size. It only saves garbage. Its methods may be
// called from any goroutine.
type buffers struct {
	copies  [copyBits + 1]sync.Pool // of *readBuffer; by the power of two that is their size
	records [maxPieceRecords + 1]sync.Pool
}

const (
	// copyBytes is up to how many bytes a piece is copied out of its record, which is less work than to keep a buffer
	// that has room for all of the record.
	copyBytes     = 1 << copyBits
	copyBits      = 14
	leastCopyBits = 12
	// maxPieceRecords is in how many records of the largest size a piece is at most.
	maxPieceRecords = PieceBytes/extent.MaxRecordBytes + 1
)

// readBuffer is a buffer and the pool that it goes back to.
type readBuffer struct {
	b    []byte
	pool *sync.Pool
}

// sizeOf is how large a buffer is with which n bytes are read, and where those of that size are kept.
func (s *buffers) sizeOf(n uint64) (size int, pool *sync.Pool) {
	if n <= copyBytes {
		class := max(bits.Len64(max(n, 1)-1), leastCopyBits)
		return 1 << class, &s.copies[class]
	}
	size = extent.PartsBufferBytes(n)
	return size, &s.records[size/extent.PartsBufferBytes(0)]
}

// take gives a buffer with which n bytes can be read. hold is asked for its memory before.
func (s *buffers) take(n uint64, hold func(int) error) (*readBuffer, error) {
	size, pool := s.sizeOf(n)
	if err := hold(size); err != nil {
		return nil, err
	}
	if buf, ok := pool.Get().(*readBuffer); ok {
		return buf, nil
	}
	return &readBuffer{make([]byte, size), pool}, nil
}

// put takes a buffer back that nobody uses any more.
func (*buffers) put(buf *readBuffer) { buf.pool.Put(buf) }
