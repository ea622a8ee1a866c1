package pki

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
)

const (
	// gatherBytes is how many bytes of records are written at once: TLS makes records of 16 KiB, and a system
	// call for each takes longer than to encrypt it.
	gatherBytes = 256 << 10
	// readBytes is how much is read from the connection at once: several records.
	readBytes = 64 << 10
)

// Conn is a TLS connection that writes the records of one Write together, and reads several at once.
type Conn struct {
	*tls.Conn
	records *records
	proof   proof // set once by the handshake: see Source.Judge

	writing sync.Mutex // one Write gathers at a time
}

// NewServer and NewClient make the two sides of a connection over nc, as tls.Server and tls.Client do.
func NewServer(nc net.Conn, config *tls.Config) *Conn {
	r := newRecords(nc)
	return &Conn{Conn: tls.Server(r, config), records: r}
}

// NewClient is the dialing side, see NewServer.
func NewClient(nc net.Conn, config *tls.Config) *Conn {
	r := newRecords(nc)
	return &Conn{Conn: tls.Client(r, config), records: r}
}

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.records.Conn }

// Write encrypts p and writes it. Nothing is held back once it returns.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.WriteParts([][]byte{p})
	return int(n), err
}

// WriteParts writes parts as if they were one. It does not keep or change them.
func (c *Conn) WriteParts(parts [][]byte) (written int64, err error) {
	// It has usually been done. While gathering it could not wait for answers; deadlines bound it.
	if err := c.HandshakeContext(context.Background()); err != nil {
		return 0, err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.records.gather()
	for _, p := range parts {
		var n int
		n, err = c.Conn.Write(p)
		written += int64(n)
		if err != nil {
			break
		}
	}
	if ferr := c.records.flush(); err == nil {
		err = ferr
	}
	return written, err
}

// records is the connection below TLS. Writes are gathered between gather and flush.
type records struct {
	net.Conn
	in *bufio.Reader // of the reading goroutine

	mu        sync.Mutex
	gathering bool
	out       []byte
	err       error // of a write that failed when TLS took it for done; then nothing more is written
}

func newRecords(nc net.Conn) *records {
	return &records{Conn: nc, in: bufio.NewReaderSize(nc, readBytes)}
}

func (r *records) Read(p []byte) (int, error) { return r.in.Read(p) }

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	if !r.gathering {
		return r.Conn.Write(p)
	}
	if len(r.out) > 0 && len(r.out)+len(p) > gatherBytes {
		if err := r.flushLocked(); err != nil {
			return 0, err
		}
	}
	r.out = append(r.out, p...)
	return len(p), nil
}

func (r *records) gather() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathering = true
}

func (r *records) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathering = false
	return r.flushLocked()
}

func (r *records) flushLocked() error {
	if len(r.out) > 0 && r.err == nil {
		_, r.err = r.Conn.Write(r.out)
	}
	r.out = r.out[:0]
	return r.err
}
