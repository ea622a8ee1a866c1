package transport

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Hello is what a node says of itself on a connection. Raft's own messages name neither a cell nor a node, and a node
// whose folder was replaced, or whose address another cell uses now, must not be listened to: each raft stream begins
// with a hello of its own.
//
//	of a stream:            preamble 'R' | length u8, cell#era | length u8, node
//	of one in records:      its preamble | as above | length u16, further fields | CRC32C over all of it u32
//
// The hello of a stream in records has a checksum, and the accepting side answers it once it has judged it: an older
// build hangs up, and is dialed again as it knows it.
type Hello struct {
	Cell        string
	Era         state.Index // of the cell, as far as the node knows: see withEra; raft streams only
	Node        string
	Incarnation uint64 // frames only
}

// frames is the hello of a connection for calls.
func (h Hello) frames() wire.Hello {
	return wire.Hello{Cell: h.Cell, Node: h.Node, Incarnation: h.Incarnation,
		Features: wire.FeatureWholePut | wire.FeatureReadInline}
}

// eraMark is between the cell and its era in the hello of a raft stream.
const eraMark = "#"

// withEra is what a raft stream says of the cell: its ID, and the entry of the recovery that its history
// goes back to. Who was not there for that one may have a majority of the votes of before, and must not be heard.
func withEra(cell string, era state.Index) string {
	if era == 0 {
		return cell
	}
	return cell + eraMark + strconv.FormatUint(uint64(era), 10)
}

func splitEra(s string) (cell string, era state.Index) {
	cell, text, _ := strings.Cut(s, eraMark)
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return cell, 0
	}
	return cell, state.Index(n)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func writeStreamHello(nc net.Conn, h Hello) error {
	_, err := nc.Write(appendHello([]byte{wire.PreambleRaft}, h))
	return err
}

func appendHello(buf []byte, h Hello) []byte {
	cell := withEra(h.Cell, h.Era)
	buf = append(buf, byte(len(cell)))
	buf = append(buf, cell...)
	buf = append(buf, byte(len(h.Node)))
	return append(buf, h.Node...)
}

func appendSummedHello(buf []byte, h Hello) []byte {
	buf = appendHello(append(buf, wire.PreambleSummed), h)
	buf = append(buf, 0, 0) // no further fields
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf, castagnoli))
}

func readStreamHello(r io.Reader) (h Hello, err error) {
	cell, err := readShort(r)
	if err != nil {
		return h, err
	}
	h.Cell, h.Era = splitEra(cell)
	h.Node, err = readShort(r)
	return h, err
}

// readSummedHello reads a hello behind its preamble byte. Fields of later builds are skipped.
func readSummedHello(nc net.Conn) (h Hello, err error) {
	sum := crc32.New(castagnoli)
	_, _ = sum.Write([]byte{wire.PreambleSummed})
	r := io.TeeReader(nc, sum)
	if h, err = readStreamHello(r); err != nil {
		return h, err
	}
	var more [2]byte
	if _, err = io.ReadFull(r, more[:]); err != nil {
		return h, err
	}
	if _, err = io.CopyN(io.Discard, r, int64(binary.LittleEndian.Uint16(more[:]))); err != nil {
		return h, err
	}
	var want [4]byte
	if _, err = io.ReadFull(nc, want[:]); err != nil {
		return h, err
	}
	if got := sum.Sum32(); got != binary.LittleEndian.Uint32(want[:]) {
		err = fmt.Errorf("the hello of a raft stream is damaged: its checksum is %08x, want %08x",
			got, binary.LittleEndian.Uint32(want[:]))
	}
	return h, err
}

func readShort(r io.Reader) (string, error) {
	n, err := readByte(r)
	if err != nil {
		return "", err
	}
	buf := make([]byte, n)
	_, err = io.ReadFull(r, buf)
	return string(buf), err
}

func readByte(r io.Reader) (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}
