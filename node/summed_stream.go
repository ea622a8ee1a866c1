package node

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
)

// TCP's checksum misses damage now and then, and whatever passes a stream on may make some. Raft believes what it reads:
// a term, an index or a commit that is wrong there is nobody's to find out later. A raft stream that is not TLS
// is therefore sent in records:
//
//	length u32 | bytes | CRC32C over the record's number u64, length and bytes
//
// All are little-endian. Records of each direction are numbered from 0, so that one which is lost or comes twice is
// noticed as well.

const (
	maxSummedBytes  = 64 << 10 // of a record
	summedHeadBytes = 4
	summedTailBytes = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func summedSum(number uint64, record []byte) uint32 {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], number)
	return crc32.Update(crc32.Checksum(n[:], castagnoli), castagnoli, record)
}

// damagedStreamError says that a record is not what was sent.
type damagedStreamError struct {
	number uint64
	detail string
}

func (e *damagedStreamError) Error() string {
	return fmt.Sprintf("record %d of the raft stream is damaged: %s", e.number, e.detail)
}

// summedConn is a stream in records. Like a net.Conn, it may be read and written at the same time.
type summedConn struct {
	net.Conn
	damaged func(*damagedStreamError) // called at most once

	readMu  sync.Mutex
	from    *bufio.Reader // under readMu
	record  []byte        // under readMu; what was read of the next record, or the last one while unread
	unread  []byte        // under readMu; what of it was not read yet
	records uint64        // under readMu; that were read
	err     error         // under readMu; why nothing can be read any more

	writeMu sync.Mutex
	buf     []byte // under writeMu
	sent    uint64 // under writeMu; records
}

func newSummedConn(nc net.Conn, damaged func(*damagedStreamError)) *summedConn {
	return &summedConn{Conn: nc, damaged: damaged, from: bufio.NewReaderSize(nc, maxSummedBytes)}
}

// Read implements net.Conn. It gives no byte of a record before all of it has proved sound.
func (c *summedConn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(c.unread) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if err := c.next(); err != nil {
			if bad := (*damagedStreamError)(nil); errors.As(err, &bad) {
				c.err = err
				c.damaged(bad)
			}
			return 0, err
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// next reads a record. What was read of it before an error stays: a deadline may only have passed.
func (c *summedConn) next() error {
	if err := c.fill(summedHeadBytes); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint32(c.record)
	if length == 0 || length > maxSummedBytes {
		return &damagedStreamError{c.records, fmt.Sprintf("it says it has %d bytes, want 1 to %d", length, maxSummedBytes)}
	}
	if err := c.fill(summedHeadBytes + int(length) + summedTailBytes); err != nil {
		return err
	}
	end := len(c.record) - summedTailBytes
	got, want := summedSum(c.records, c.record[:end]), binary.LittleEndian.Uint32(c.record[end:])
	if got != want {
		return &damagedStreamError{c.records, fmt.Sprintf("its checksum is %08x, want %08x", got, want)}
	}
	c.records++
	c.unread, c.record = c.record[summedHeadBytes:end], c.record[:0]
	return nil
}

// fill brings the record to a length, if it is shorter.
func (c *summedConn) fill(length int) error {
	have := len(c.record)
	if have >= length {
		return nil
	}
	if cap(c.record) < length {
		grown := make([]byte, have, summedHeadBytes+maxSummedBytes+summedTailBytes)
		copy(grown, c.record)
		c.record = grown
	}
	n, err := io.ReadFull(c.from, c.record[have:length])
	c.record = c.record[:have+n]
	if errors.Is(err, io.EOF) && have+n > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write implements net.Conn.
func (c *summedConn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	written := 0
	for len(p) > 0 {
		n := min(len(p), maxSummedBytes)
		c.buf = binary.LittleEndian.AppendUint32(c.buf[:0], uint32(n))
		c.buf = append(c.buf, p[:n]...)
		c.buf = binary.LittleEndian.AppendUint32(c.buf, summedSum(c.sent, c.buf))
		if _, err := c.Conn.Write(c.buf); err != nil {
			return written, err
		}
		c.sent++
		written, p = written+n, p[n:]
	}
	return written, nil
}
