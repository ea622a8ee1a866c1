// Package summed sends a stream in records with checksums.
//
// TCP's checksum misses damage now and then, and whatever passes a stream on may make some. Raft believes what it
// reads: a term, an index or a commit that is wrong there nobody can detect later. A raft stream that is not TLS
// is therefore sent in records:
//
//	length u32 | bytes | CRC32C over the record's number u64, length and bytes
//
// All are little-endian. Records of each direction are numbered from 0, so that one which is lost or comes twice is
// noticed as well.
//
// The package has no goroutine. Like any net.Conn, a [Conn] may be read and written at the same time: each direction
// has a lock of its own, which is held while it reads or writes the connection beneath.
package summed

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

const (
	maxRecordBytes = 64 << 10 // of a record
	headBytes      = 4
	tailBytes      = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sumOf(number uint64, record []byte) uint32 {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], number)
	return crc32.Update(crc32.Checksum(n[:], castagnoli), castagnoli, record)
}

// DamageError says that a record is not what was sent.
type DamageError struct {
	number uint64
	detail string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("record %d of the raft stream is damaged: %s", e.number, e.detail)
}

// Conn is a stream in records. Like a net.Conn, it may be read and written at the same time.
type Conn struct {
	net.Conn
	damaged func(*DamageError) // called at most once

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

// New makes a stream in records of a connection. damaged is called at most once, by the Read that finds a record which
// is not what was sent; no byte is read after that.
func New(nc net.Conn, damaged func(*DamageError)) *Conn {
	return &Conn{Conn: nc, damaged: damaged, from: bufio.NewReaderSize(nc, maxRecordBytes)}
}

// Read implements net.Conn. It gives no byte of a record before all of it has proved sound.
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(c.unread) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if err := c.next(); err != nil {
			if bad := (*DamageError)(nil); errors.As(err, &bad) {
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
func (c *Conn) next() error {
	if err := c.fill(headBytes); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint32(c.record)
	if length == 0 || length > maxRecordBytes {
		return &DamageError{c.records, fmt.Sprintf("it says it has %d bytes, want 1 to %d", length, maxRecordBytes)}
	}
	if err := c.fill(headBytes + int(length) + tailBytes); err != nil {
		return err
	}
	end := len(c.record) - tailBytes
	got, want := sumOf(c.records, c.record[:end]), binary.LittleEndian.Uint32(c.record[end:])
	if got != want {
		return &DamageError{c.records, fmt.Sprintf("its checksum is %08x, want %08x", got, want)}
	}
	c.records++
	c.unread, c.record = c.record[headBytes:end], c.record[:0]
	return nil
}

// fill brings the record to a length, if it is shorter.
func (c *Conn) fill(length int) error {
	have := len(c.record)
	if have >= length {
		return nil
	}
	if cap(c.record) < length {
		grown := make([]byte, have, headBytes+maxRecordBytes+tailBytes)
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
func (c *Conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	written := 0
	for len(p) > 0 {
		n := min(len(p), maxRecordBytes)
		c.buf = binary.LittleEndian.AppendUint32(c.buf[:0], uint32(n))
		c.buf = append(c.buf, p[:n]...)
		c.buf = binary.LittleEndian.AppendUint32(c.buf, sumOf(c.sent, c.buf))
		if _, err := c.Conn.Write(c.buf); err != nil {
			return written, err
		}
		c.sent++
		written, p = written+n, p[n:]
	}
	return written, nil
}
