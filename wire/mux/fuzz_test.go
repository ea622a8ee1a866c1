package mux

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/datanode/datanode/wire"
)

// fuzzPoolBytes and fuzzReserveBytes are the memory behind the connections that fuzzing makes.
const fuzzPoolBytes, fuzzReserveBytes = 64 << 10, 64 << 10

// FuzzServer feeds an accepting side whatever bytes after the hello, or bytes made into frames. It ends, has
// held no more than it may, and owes nothing when it has ended.
func FuzzServer(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, framed bool, b []byte) {
		near, far := net.Pipe()
		budget := NewBudget(fuzzPoolBytes, fuzzReserveBytes)
		share := budget.NewShare()
		go feed(near, append(fuzzHello(t), fuzzBytes(framed, b)...))
		c, err := Server(context.Background(), far, Config{Share: share, PingEvery: -1, MaxInFlight: 8,
			WindowBytes: 8 << 10, SessionWindowBytes: 16 << 10, MaxFrameBytes: wire.MinMaxFrameBytes,
			Handler: HandlerFunc(echo)})
		if err != nil {
			return
		}
		<-c.Done()
		c.Close()
		if budget.Taken() != 0 || c.account.held != 0 {
			t.Fatalf("%d bytes taken and %d held after the end", budget.Taken(), c.account.held)
		}
		for s := range c.sessions {
			if used, owed := c.sessions[s].used, c.sessions[s].owed; owed < 0 || used < owed {
				t.Fatalf("session %d has used %d and consumed %d", s, used, owed)
			}
		}
	})
}

// FuzzClient does the same to a dialing side that has a call and a stream in flight. None is answered by
// anything but a frame that names it.
func FuzzClient(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, framed bool, b []byte) {
		near, far := net.Pipe()
		go feed(far, append(fuzzHello(t)[1:], fuzzBytes(framed, b)...))
		c, err := Client(context.Background(), near, Config{PingEvery: -1})
		if err != nil {
			return
		}
		if s, err := c.Open(t.Context(), Request{Op: wire.OpPut, Session: wire.SessionAppend, End: true}); err == nil {
			for err == nil {
				_, err = s.Recv()
			}
			s.Close()
		}
		_, err = c.Call(t.Context(), Request{Op: wire.OpRead, Session: wire.SessionClient})
		<-c.Done()
		c.Close()
		if err == nil && !framed { // a CRC and a random ID of 31 bits, guessed
			t.Fatal("answered by noise")
		}
	})
}

// feed writes b, reads what comes, and hangs up.
func feed(nc net.Conn, b []byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, nc)
	}()
	_, _ = nc.Write(b) // it may hang up before
	_ = nc.Close()
	<-done
}

// fuzzBytes is b, or frames of it: each byte says how long the content that follows is.
func fuzzBytes(framed bool, b []byte) []byte {
	if !framed {
		return b
	}
	var out []byte
	for len(b) > 1 {
		n := min(int(b[0]), len(b)-1)
		content := b[1 : 1+n]
		b = b[1+n:]
		start := len(out)
		size := n + 4
		out = append(out, byte(size), byte(size>>8), 0, 0)
		out = append(out, content...)
		out = wire.AppendFrameEnd(out, out[start:], nil)
	}
	return out
}

func fuzzHello(t *testing.T) []byte {
	cfg := Config{}.withDefaults()
	b, err := wire.Marshal(&cfg.Hello)
	if err != nil {
		t.Fatal(err)
	}
	return wire.AppendFrame([]byte{wire.PreambleFrames}, &wire.Header{Kind: wire.KindHello}, b, nil)
}

// seedFrames are conversations of every kind of frame, and frames that do not belong in any.
func seedFrames(f *testing.F) {
	var all []byte
	add := func(h wire.Header, body, raw []byte) {
		b := wire.AppendFrame(nil, &h, body, raw)
		content := b[4 : len(b)-4]
		f.Add(false, b)
		f.Add(true, append([]byte{byte(len(content))}, content...))
		all = append(append(all, byte(len(content))), content...)
		f.Add(true, append([]byte(nil), all...))
	}
	call := func(k wire.Kind, flags wire.Flags) wire.Header {
		return wire.Header{Kind: k, ID: 7, Op: wire.OpPut, Session: wire.SessionAppend, Flags: flags}
	}
	add(call(wire.KindRequest, wire.FlagStream), []byte{0x90}, []byte("raw"))
	add(call(wire.KindChunk, 0), nil, []byte("abc"))
	chunk := call(wire.KindChunk, wire.FlagEnd)
	chunk.MinIndex = 3
	add(chunk, nil, nil)
	add(call(wire.KindCredit, 0), []byte{3}, nil)
	add(wire.Header{Kind: wire.KindCredit, Session: wire.SessionAppend}, []byte{3}, nil)
	add(call(wire.KindCancel, 0), nil, nil)
	add(wire.Header{Kind: wire.KindPing, ID: 1}, nil, nil)
	add(wire.Header{Kind: wire.KindPong, ID: 1}, nil, nil)
	add(wire.Header{Kind: wire.KindGoAway}, nil, nil)
	add(wire.Header{Kind: wire.KindHello}, []byte{0x90}, nil)
	add(call(wire.KindResponse, 0), []byte{0x90}, nil)
	add(call(wire.KindError, 0), []byte{0x95, 1, 2, 1, 0xa0, 0xa0}, nil)
	f.Add(false, []byte{0xff, 0xff, 0xff, 0x7f})
}
