package extent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/datanode/datanode/node/internal/vfs"
)

// punchIntent is what a punch will do to an extent file: stretches of it become zeros, then bytes are put in places,
// the last of them the footer, and the file gets its size. It is durable in a file of its own before the extent file is
// touched, and Open does it again if it finds it: no record is written in place that a crash could tear.
//
//	 0        4         8            16           24      28          32      36        40      44
//	+--------+---------+------------+------------+-------+-----------+-------+---------+-------+-------+
//	| magic  | number  | extent ID  | fence of   | birth | number of | size          | CRC32C | zeros, |
//	| "DNEP" | of zeros|            | the file   |       | writes    |               | of rest| writes |
//	+--------+---------+------------+------------+-------+-----------+---------------+--------+--------+
//
// Zeros are position (8) and length (8), writes position (8), length (4) and bytes.
type punchIntent struct {
	id     ID
	header fileHeader // of the file that is meant
	size   int64
	zeros  []stretch
	writes []patch
}

// stretch is a part of a file.
type stretch struct{ pos, n int64 }

// blocks is how many whole blocks are in it.
func (z stretch) blocks() int64 {
	return max(0, (z.pos+z.n)/blockBytes-(z.pos+blockBytes-1)/blockBytes)
}

// patch is bytes for a place in a file.
type patch struct {
	pos   int64
	bytes []byte
}

const (
	punchMagic       = uint32(0x50454e44) // "DNEP"
	punchHeaderBytes = 44
)

func appendPunchIntent(buf []byte, in punchIntent) []byte {
	start := len(buf)
	le := binary.LittleEndian
	buf = le.AppendUint32(buf, punchMagic)
	buf = le.AppendUint32(buf, uint32(len(in.zeros)))
	buf = le.AppendUint64(buf, uint64(in.id))
	buf = le.AppendUint64(buf, uint64(in.header.fence))
	buf = le.AppendUint32(buf, uint32(in.header.birth))
	buf = le.AppendUint32(buf, uint32(len(in.writes)))
	buf = le.AppendUint64(buf, uint64(in.size))
	buf = le.AppendUint32(buf, 0) // the sum
	for _, z := range in.zeros {
		buf = le.AppendUint64(buf, uint64(z.pos))
		buf = le.AppendUint64(buf, uint64(z.n))
	}
	for _, w := range in.writes {
		buf = le.AppendUint64(buf, uint64(w.pos))
		buf = le.AppendUint32(buf, uint32(len(w.bytes)))
		buf = append(buf, w.bytes...)
	}
	le.PutUint32(buf[start+40:], punchIntentSum(buf[start:]))
	return buf
}

func punchIntentSum(buf []byte) uint32 {
	return crc32.Update(crc32.Checksum(buf[:40], castagnoli), castagnoli, buf[punchHeaderBytes:])
}

// parsePunchIntent verifies buf, the whole of an intent.
func parsePunchIntent(buf []byte) (in punchIntent, err error) {
	if len(buf) < punchHeaderBytes {
		return in, fmt.Errorf("punch intent has %d bytes, want at least %d", len(buf), punchHeaderBytes)
	}
	le := binary.LittleEndian
	if m := le.Uint32(buf); m != punchMagic {
		return in, fmt.Errorf("punch intent begins with %#x, want %#x", m, punchMagic)
	}
	if got, want := punchIntentSum(buf), le.Uint32(buf[40:]); got != want {
		return in, fmt.Errorf("punch intent has checksum %#x, says %#x", got, want)
	}
	zeros, writes := le.Uint32(buf[4:]), le.Uint32(buf[28:])
	in.id = ID(le.Uint64(buf[8:]))
	in.header = fileHeader{id: in.id, fence: Fence(le.Uint64(buf[16:])), birth: Birth(le.Uint32(buf[24:]))}
	in.size = int64(le.Uint64(buf[32:]))
	rest := buf[punchHeaderBytes:]
	place := func(n int) (pos, length int64, ok bool) {
		if len(rest) < 8+n {
			return 0, 0, false
		}
		pos, length = int64(le.Uint64(rest)), int64(le.Uint32(rest[8:]))
		if n == 8 {
			length = int64(le.Uint64(rest[8:]))
		}
		rest = rest[8+n:]
		return pos, length, pos >= fileHeaderBytes && length >= 0 && length <= in.size && pos <= in.size-length
	}
	for range zeros {
		pos, n, ok := place(8)
		if !ok {
			return in, fmt.Errorf("punch intent of %d bytes: zeros at %d for %d bytes cannot be", in.size, pos, n)
		}
		in.zeros = append(in.zeros, stretch{pos, n})
	}
	for range writes {
		pos, n, ok := place(4)
		if !ok || n > int64(len(rest)) {
			return in, fmt.Errorf("punch intent of %d bytes: a write at %d of %d bytes cannot be", in.size, pos, n)
		}
		in.writes, rest = append(in.writes, patch{pos, rest[:n:n]}), rest[n:]
	}
	if len(rest) > 0 {
		return in, fmt.Errorf("%d bytes after a punch intent", len(rest))
	}
	return in, nil
}

// redo carries the intent out. It may be done any number of times.
func (in punchIntent) redo(f vfs.File) error {
	for _, z := range in.zeros {
		if err := punchOrZero(f, z); err != nil {
			return distrust(err)
		}
	}
	for _, w := range in.writes {
		if _, err := f.WriteAt(w.bytes, w.pos); err != nil {
			return distrust(err)
		}
	}
	if err := f.Truncate(in.size); err != nil {
		return distrust(err)
	}
	return syncFile(f)
}

// punchOrZero punches, and writes zeros where the file has come to a file system that cannot, or that has no room for
// what it must note of it.
func punchOrZero(f vfs.File, z stretch) error {
	err := f.Punch(z.pos, z.n)
	if !errors.Is(err, errors.ErrUnsupported) && !vfs.IsNoSpace(err) {
		return err
	}
	zeros := make([]byte, min(z.n, MaxRecordBytes))
	for z.n > 0 {
		k := min(z.n, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:k], z.pos); err != nil {
			return err
		}
		z.pos, z.n = z.pos+k, z.n-k
	}
	return nil
}
