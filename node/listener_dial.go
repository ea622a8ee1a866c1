package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// streamHello opens a raft stream: who dials, of which cell. Raft's own messages name neither, and
// a node whose folder was replaced, or whose address another cell uses now, must not be listened to.
//
// The hello of a stream in records has a checksum, and the accepting side answers it once it has judged it: an older
// build hangs up, and is dialed again as it knows it.
type streamHello struct {
	cell string
	era  state.Index // of the cell, as far as the node knows: see withEra
	node string
}

// plainFor is how long a node that hung up on a stream in records is taken for one of an older build.
const plainFor = time.Minute

// plainAddrs are the addresses of nodes of older builds. The zero value is ready to use.
type plainAddrs struct {
	damaged atomic.Uint64 // streams that ended because of damage, since the start

	mu    sync.Mutex
	until map[string]time.Time // Guarded by mu. As many as the group has members.
}

func (p *plainAddrs) is(addr string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.until[addr])
}

func (p *plainAddrs) note(addr string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil {
		p.until = make(map[string]time.Time)
	}
	p.until[addr] = until
}

// provenAt tells whether the node at an address is known to be of a build that reads streams in records.
func (n *Node) provenAt(addr string) bool {
	group := n.group.Load()
	if group == nil {
		return false
	}
	known := false
	group.View().Nodes(func(node *state.Node) bool {
		known = node.Addr == addr && node.Level >= state.LevelProven
		return !known
	})
	return known
}

// Dial opens a raft stream to a node: over TLS where there is a certificate, else in records with checksums if the
// node knows them.
func (l *listener) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if now := time.Now(); l.secure == nil && !l.plain.is(addr, now) {
		nc, err := l.dialKind(ctx, addr, wire.PreambleSummed)
		if err == nil || !hungUp(err) || l.proven(addr) {
			return nc, err
		}
		l.plain.note(addr, now.Add(plainFor))
	}
	return l.dialKind(ctx, addr, wire.PreambleRaft)
}

// hungUp tells whether the peer has closed a connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (l *listener) dialKind(ctx context.Context, addr string, kind byte) (net.Conn, error) {
	nc, err := l.dialStream(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := greetStream(ctx, nc, kind, l.hello()); err != nil {
		nc.Close()
		return nil, err
	}
	stream := net.Conn(l.stock.stream(nc, l.nodeAt(addr), l.secure.role(), directionOut))
	if kind == wire.PreambleSummed {
		stream = l.summed(stream, addr)
	}
	return stream, nil
}

func (l *listener) dialStream(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := l.dial(ctx, addr)
	if err != nil || l.secure == nil {
		return nc, err
	}
	return l.secure.dialStream(ctx, nc, addr)
}

// greetStream sends the hello of a stream. Where one is answered it waits for that.
func greetStream(ctx context.Context, nc net.Conn, kind byte, h streamHello) error {
	if kind == wire.PreambleRaft {
		return writeStreamHello(nc, h)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := nc.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := nc.Write(appendSummedHello(nil, h)); err != nil {
		return err
	}
	got, err := readByte(nc)
	if err == nil && got != kind {
		err = fmt.Errorf("a raft stream is answered with %#x, want %#x", got, kind)
	}
	if err != nil {
		return err
	}
	return nc.SetDeadline(time.Time{})
}

// checkStream reads the hello of a raft stream, judges it and answers it.
func (l *listener) checkStream(nc net.Conn, who caller, kind byte) (theirs streamHello, err error) {
	if kind == wire.PreambleSummed {
		theirs, err = readSummedHello(nc)
	} else {
		theirs, err = readStreamHello(nc)
	}
	if err == nil {
		err = l.judgeStream(theirs, who)
	}
	if err == nil && kind == wire.PreambleSummed {
		_, err = nc.Write([]byte{wire.PreambleSummed})
	}
	return theirs, err
}

// summed is a stream in records from or to a peer.
func (l *listener) summed(nc net.Conn, peer string) net.Conn {
	return newSummedConn(nc, func(err *damagedStreamError) {
		l.plain.damaged.Add(1)
		l.logger.Error("a raft stream has ended: damage on its way", "peer", peer, "error", err)
		nc.Close()
	})
}

func writeStreamHello(nc net.Conn, h streamHello) error {
	_, err := nc.Write(appendHello([]byte{wire.PreambleRaft}, h))
	return err
}

func appendHello(buf []byte, h streamHello) []byte {
	cell := withEra(h.cell, h.era)
	buf = append(buf, byte(len(cell)))
	buf = append(buf, cell...)
	buf = append(buf, byte(len(h.node)))
	return append(buf, h.node...)
}

func appendSummedHello(buf []byte, h streamHello) []byte {
	buf = appendHello(append(buf, wire.PreambleSummed), h)
	buf = append(buf, 0, 0) // no further fields
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf, castagnoli))
}

func readStreamHello(r io.Reader) (h streamHello, err error) {
	cell, err := readShort(r)
	if err != nil {
		return h, err
	}
	h.cell, h.era = splitEra(cell)
	h.node, err = readShort(r)
	return h, err
}

// readSummedHello reads a hello behind its preamble byte. Fields of later builds are skipped.
func readSummedHello(nc net.Conn) (h streamHello, err error) {
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
		err = fmt.Errorf("the hello of a raft stream is damaged: its checksum is %08x, want %08x", got, binary.LittleEndian.Uint32(want[:]))
	}
	return h, err
}
