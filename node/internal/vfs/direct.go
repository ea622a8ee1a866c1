package vfs

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"syscall"
)

const (
	// directBytes is what is written at once past the system's cache.
	directBytes = 1 << 20
	// maxAlign is the largest alignment of a file that is written so; one that asks for more goes through the cache.
	maxAlign = 64 << 10
	// minAlign is the smallest that is used, whatever a disk would take: the block of most file systems, so that none is
	// written in parts.
	minAlign = 4 << 10
	// TailBytes is how much memory a Tail has.
	TailBytes = directBytes + 2*maxAlign
)

// aligned is memory for writes past the cache.
var aligned = sync.Pool{New: func() any {
	b := alignedBytes(directBytes+maxAlign, maxAlign)
	return &b
}}

// alignedBytes is a slice of n bytes whose first lies at a multiple of align.
func alignedBytes(n, align int) []byte {
	b := make([]byte, n+align)
	return b[(align-addressMod(b, align))%align:][:n:n]
}

// addressMod is where the first byte of b lies within a block of align bytes.
func addressMod(b []byte, align int) int {
	return int(reflect.ValueOf(b).Pointer() % uintptr(align))
}

// errUnaligned is what a write past the cache answers that is not of whole blocks; the kernel's EINVAL.
func errUnaligned(p []byte, off int64, align int) error {
	if off%int64(align) == 0 && len(p)%align == 0 && (len(p) == 0 || addressMod(p, align) == 0) {
		return nil
	}
	return fmt.Errorf("write of %d bytes at %d, want multiples of %d: %w", len(p), off, align, syscall.EINVAL)
}

// Tail writes the end of one file that grows. What is put into it is written in whole blocks past the system's cache,
// where the file system says that it takes that: the first touch of a fresh page of the cache costs more processor than
// all else that is done to its bytes. Elsewhere it is written through the cache, in steps of the same size.
//
// A file seldom ends with a block. What is behind the last whole one stays in memory; Sync writes it through the cache,
// and later the whole block that begins with it is written over it: the same bytes, and more behind them. So a block of
// which a part is durable is never written with other bytes in that part, and whatever of it a crash leaves, the part
// is there. It is what the cache does as well when a page is written back twice.
//
// A Tail is not safe for concurrent use. Nobody else may write to the file or cut it meanwhile; reads by way of other
// handles see what Sync has written, and may see more.
type Tail struct {
	file   File // through the cache; the caller's
	direct File // nil: everything goes through the cache
	align  int64
	pooled *[]byte
	buf    []byte // what is to be at pos; its beginning may be there already. Invariant: pos is a multiple of align
	pos    int64
}

// NewTail begins to write at the end of a file, which is at that position and open through the cache.
func NewTail(fsys FS, name string, file File, end int64) (*Tail, error) {
	t := &Tail{file: file, align: 1, pos: end, pooled: aligned.Get().(*[]byte)}
	t.buf = (*t.pooled)[:0]
	direct, align, err := fsys.OpenDirect(name)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return t, nil
	case err != nil:
		return nil, errors.Join(err, t.Close())
	}
	t.direct, t.align = direct, int64(align)
	t.pos -= end % t.align
	t.buf = t.buf[:end-t.pos]
	if n, err := file.ReadAt(t.buf, t.pos); n < len(t.buf) {
		return nil, errors.Join(fmt.Errorf("read the last block of %s: %w", name, err), t.Close())
	}
	return t, nil
}

// Room is where the next bytes go: append to it, as far as its capacity goes, and tell Add how many. It is never short
// of n bytes, which must not be more than half of directBytes, unless there is an error of the disk.
func (t *Tail) Room(n int) ([]byte, error) {
	if cap(t.buf)-len(t.buf) < n || len(t.buf) >= directBytes {
		if err := t.writeBlocks(); err != nil {
			return nil, err
		}
	}
	return t.buf[len(t.buf):], nil
}

// Add takes the first n bytes of what Room was.
func (t *Tail) Add(n int) { t.buf = t.buf[:len(t.buf)+n] }

// End is where the file ends with all that was added.
func (t *Tail) End() int64 { return t.pos + int64(len(t.buf)) }

// writeBlocks writes the whole blocks that are there. What is left is less than one.
func (t *Tail) writeBlocks() error {
	whole := int64(len(t.buf)) - int64(len(t.buf))%t.align
	if whole == 0 {
		return nil
	}
	if err := t.write(t.buf[:whole]); err != nil {
		return err
	}
	rest := copy(t.buf, t.buf[whole:])
	t.buf, t.pos = t.buf[:rest], t.pos+whole
	return nil
}

// write writes at pos, past the cache if that can be. A file system that reports an alignment and then refuses it gets
// the bytes through the cache.
func (t *Tail) write(p []byte) error {
	if t.direct != nil {
		_, err := t.direct.WriteAt(p, t.pos)
		if !errors.Is(err, syscall.EINVAL) {
			return err
		}
		t.direct.Close()
		t.direct = nil
	}
	_, err := t.file.WriteAt(p, t.pos)
	return err
}

// Sync makes all that was added durable. After an error nothing is known of what was added since the last one that
// went well.
func (t *Tail) Sync() error {
	if err := t.Flush(); err != nil {
		return err
	}
	return t.file.Sync()
}

// Flush writes all that was added, so that it can be read.
func (t *Tail) Flush() error {
	if err := t.writeBlocks(); err != nil || len(t.buf) == 0 {
		return err
	}
	_, err := t.file.WriteAt(t.buf, t.pos)
	return err
}

// Direct reports whether whole blocks go past the system's cache.
func (t *Tail) Direct() bool { return t.direct != nil }

// Close ends the use of a Tail, which writes nothing more. The file stays open.
func (t *Tail) Close() error {
	if t.pooled != nil {
		aligned.Put(t.pooled)
		t.pooled, t.buf = nil, nil
	}
	if t.direct == nil {
		return nil
	}
	direct := t.direct
	t.direct = nil
	return direct.Close()
}
