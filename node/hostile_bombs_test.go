package node

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/datanode/datanode/wire"
)

const (
	floodFrames = 1000 // in one write
	// never is a log index that is not reached: a call that waits for it holds what it has brought.
	never = 1 << 60
)

var errNotRefused = errors.New("not refused")

// bombs are all there are.
func bombs() []bomb {
	return slices.Concat(lengthBombs(), bodyBombs(), slowBombs(), floodBombs(), hoardBombs())
}

func le32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

// request is the next request of a connection.
func (h *hostile) request(op wire.OpType, flags wire.Flags, index uint64, body, raw []byte) []byte {
	h.id++
	hdr := wire.Header{Kind: wire.KindRequest, ID: h.id, Op: op, Session: op.Sessions()[0], Flags: flags, MinIndex: index}
	return wire.AppendFrame(nil, &hdr, body, raw)
}

func encoded(v any) []byte {
	b, err := wire.Marshal(v)
	if err != nil {
		panic(err) // it is a constant
	}
	return b
}

// sealFrame gives content a length and a CRC that agree with it.
func sealFrame(content []byte) []byte {
	b := append(le32(uint32(len(content)+4)), content...)
	return wire.AppendFrameEnd(b, b, nil)
}

// hangsUp reads until the node has hung up.
func (h *hostile) hangsUp() error {
	h.drain()
	return io.EOF
}

func lengthBombs() []bomb {
	send := func(b []byte) func(*hostile) error {
		return func(h *hostile) error {
			if err := h.write(b); err != nil {
				return err
			}
			return h.hangsUp()
		}
	}
	// A header whose fields have all their largest values, but for those that would be refused first.
	largest := []byte{0x99, 2, 0xcd, 0xff, 0xff, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 5, 0xcc, 0xff}
	for range 3 {
		largest = append(largest, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	}
	largest = append(largest, 0xce, 0xff, 0xff, 0xff, 0xff)
	return []bomb{
		{name: "frame of 4 GiB announced", conns: 8, ends: true, blow: send([]byte{0xff, 0xff, 0xff, 0xff})},
		{name: "largest frame, never sent", conns: 250, keep: true, blow: func(h *hostile) error {
			return h.write(le32(wire.DefaultMaxFrameBytes-4), h.request(wire.OpPut, 0, 0, nil, make([]byte, 64<<10))[4:])
		}},
		{name: "every field at its largest", conns: 8, ends: true, blow: send(sealFrame(largest))},
		{name: "hello of 4 GiB announced", conns: 8, ends: true, bare: true,
			blow: send([]byte{wire.PreambleFrames, 0xff, 0xff, 0xff, 0xff})},
	}
}

// bodyBombs are bodies that would take more than they are. Each is refused, as what it is.
func bodyBombs() []bomb {
	// What any decoder takes: what counts is that these are refused before it sees them, and how often.
	huge := [][]byte{
		{0xdd, 0, 0, 0x10, 0}, {0xdf, 0, 0, 0x10, 0}, {0xdb, 0, 0, 0x10, 0}, {0xc6, 0, 0, 0x10, 0}, {0xc9, 0, 0, 0x10, 0, 1},
		{0x92, 0xdd, 0, 0, 0x10, 0, 1},
		append([]byte{0xdd, 0, 1, 0, 0}, bytes.Repeat([]byte{0x90}, 1<<16)...), // as many as it says, all empty
	}
	const most = 1 << 15
	within := append(bytes.Repeat([]byte{0x91}, wire.MaxDepth-1), 0)
	long := slices.Concat([]byte{0xdd, 0, 0, most >> 8, 0}, bytes.Repeat(within, most-1), []byte{0x91}, within)
	deep := [][]byte{
		long,
		append(bytes.Repeat([]byte{0x91}, wire.MaxDepth+1), 0),
		append(bytes.Repeat([]byte{0xdc, 0, 1}, wire.MaxDepth+1), 0),
	}
	refused := func(bodies [][]byte) func(h *hostile) error {
		return func(h *hostile) error {
			rd := bufio.NewReader(h.nc)
			for i := 0; ; i++ {
				if err := h.write(h.request(wire.OpOps, wire.FlagEnd, 0, bodies[i%len(bodies)], nil)); err != nil {
					return err
				}
				if err := h.refused(rd); err != nil {
					return err
				}
			}
		}
	}
	return []bomb{
		{name: "counts beyond the bytes", conns: 4, ends: true, blow: refused(huge)},
		{name: "nesting", conns: 4, ends: true, blow: refused(deep)},
	}
}

// refused reads the answer to the last request, which says that it is invalid.
func (h *hostile) refused(rd *bufio.Reader) error {
	for {
		f, err := h.read(rd)
		if err != nil {
			return err
		}
		switch f.Kind {
		case wire.KindPing:
			if err := h.pong(&f.Header); err != nil {
				return err
			}
			continue
		case wire.KindError:
			var e wire.Error
			if err := wire.Unmarshal(f.Body, &e); err != nil || e.Code != wire.CodeInvalid {
				panic(fmt.Sprintf("answered %+v, want invalid", e)) // a test of its own goroutine
			}
			return nil
		}
		panic(errNotRefused)
	}
}

func slowBombs() []bomb {
	hello := hostileHello()
	half := func(b []byte) func(*hostile) error { return func(h *hostile) error { return h.write(b) } }
	clientHello := []byte{wire.PreambleTLS, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}
	return []bomb{
		{name: "byte by byte", conns: 64, blow: func(h *hostile) error {
			go h.drain()
			for {
				for _, b := range h.request(wire.OpStatus, wire.FlagEnd, 0, nil, nil) {
					if err := h.write([]byte{b}); err != nil {
						return err
					}
					time.Sleep(20 * time.Millisecond) // this is the bomb
				}
			}
		}},
		{name: "half open: TCP only", conns: 500, bare: true, keep: true, ends: true, blow: half(nil)},
		{name: "half open: TLS", conns: 500, secure: true, bare: true, keep: true, ends: true, blow: half(clientHello)},
		{name: "half open: hello", conns: 500, bare: true, keep: true, ends: true, blow: half(hello[:len(hello)/2])},
		{name: "500 idle connections", conns: 500, pongs: true, blow: half(nil)},
	}
}

// flood writes the same frames until the node hangs up, and reads what comes.
func flood(frame func(h *hostile) []byte) func(h *hostile) error {
	return func(h *hostile) error {
		go h.drain()
		b := bytes.Repeat(frame(h), floodFrames)
		for {
			if err := h.write(b); err != nil {
				return err
			}
		}
	}
}

func plainFrame(hdr wire.Header, body []byte) []byte { return wire.AppendFrame(nil, &hdr, body, nil) }

func floodBombs() []bomb {
	named := func(kind wire.Kind, body []byte) func(h *hostile) []byte {
		return func(h *hostile) []byte {
			if h.write(h.request(wire.OpStatus, wire.FlagEnd, 0, nil, nil)) != nil {
				return nil
			}
			return plainFrame(wire.Header{Kind: kind, ID: h.id, Op: wire.OpStatus, Session: wire.SessionControl}, body)
		}
	}
	constant := func(hdr wire.Header, body []byte) func(*hostile) []byte {
		b := plainFrame(hdr, body)
		return func(*hostile) []byte { return b }
	}
	return []bomb{
		{name: "flood of pings", conns: 4, ends: true, blow: flood(constant(wire.Header{Kind: wire.KindPing, ID: 1}, nil))},
		{name: "flood of pings without number", conns: 4, ends: true,
			blow: flood(constant(wire.Header{Kind: wire.KindPing}, nil))},
		{name: "flood of cancels", conns: 4, ends: true, blow: flood(named(wire.KindCancel, nil))},
		{name: "flood of credits of a call", conns: 4, ends: true,
			blow: flood(named(wire.KindCredit, wire.AppendUint(nil, 0)))},
		{name: "flood of credits of a session", conns: 4, ends: true,
			blow: flood(constant(wire.Header{Kind: wire.KindCredit, Session: 1}, []byte{0}))},
		{name: "flood of goaways", conns: 4, ends: true, blow: flood(constant(wire.Header{Kind: wire.KindGoAway}, nil))},
		{name: "unknown call IDs", conns: 4, ends: true,
			blow: flood(constant(wire.Header{Kind: wire.KindCancel, ID: 1 << 40, Op: 1, Session: 1}, nil))},
		{name: "requests beyond the cap", conns: 4, ends: true, blow: func(h *hostile) error {
			go h.drain()
			for {
				var b []byte
				for range floodFrames {
					b = append(b, h.request(wire.OpStatus, wire.FlagEnd, never, nil, nil)...)
				}
				if err := h.write(b); err != nil {
					return err
				}
			}
		}},
	}
}

// hoardBombs make the node hold bytes.
func hoardBombs() []bomb {
	chunk := func(h *hostile, n int, at uint64) []byte {
		hdr := wire.Header{Kind: wire.KindChunk, ID: h.id, Op: wire.OpPut, Session: wire.SessionClient, MinIndex: at}
		return wire.AppendFrame(nil, &hdr, nil, make([]byte, n))
	}
	hoard := func(calls, chunks, chunkBytes int) func(h *hostile) error {
		return func(h *hostile) error {
			go h.drain()
			for range calls {
				b := h.request(wire.OpPut, 0, never, encoded(&wire.PutRequest{Length: -1}), nil)
				for i := range chunks {
					b = append(b, chunk(h, chunkBytes, uint64(i*chunkBytes))...)
				}
				if err := h.write(b); err != nil {
					return err
				}
			}
			return nil
		}
	}
	unread := func(op wire.OpType, flags wire.Flags, body func(h *hostile) []byte) func(h *hostile) error {
		return func(h *hostile) error {
			b := body(h)
			for range 4000 {
				if err := h.write(h.request(op, flags, 0, b, nil)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []bomb{
		{name: "requests held", conns: 32, keep: true, blow: func(h *hostile) error {
			go h.drain()
			raw := make([]byte, 1<<20)
			for range 60 {
				if err := h.write(h.request(wire.OpStatus, wire.FlagEnd, never, nil, raw)); err != nil {
					return err
				}
			}
			return nil
		}},
		{name: "chunks nobody takes", conns: 32, keep: true, blow: hoard(7, 4, 255<<10)},
		{name: "tiny chunks nobody takes", conns: 16, keep: true, blow: hoard(7, 4000, 1)},
		{name: "puts without bytes", conns: 16, keep: true, blow: hoard(1000, 0, 0)},
		{name: "answers never read: chunks", conns: 16, keep: true, blow: unread(wire.OpRead, wire.FlagEnd|wire.FlagStream,
			func(h *hostile) []byte { return encoded(&wire.ReadRequest{Locator: h.large}) })},
		{name: "answers never read: lists", conns: 16, keep: true, blow: unread(wire.OpExtents, wire.FlagEnd,
			func(*hostile) []byte { return encoded(&wire.ExtentsRequest{}) })},
	}
}
