package mux

import (
	"context"
	"testing"

	"github.com/datanode/datanode/wire"
)

// streamPeer asks a server that streams for ever for its chunks, and grants credit only when told to.
type streamPeer struct {
	*rawPeer
	pings uint64
}

func newStreamPeer(t *testing.T) *streamPeer {
	_, p := acceptRaw(t, tcpPair, Config{PingEvery: -1, Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
		if sc.Op() != wire.OpRead {
			_ = sc.Reply(nil, nil)
			return
		}
		p := make([]byte, wire.MaxChunkBytes)
		for sc.Send(p) == nil {
		}
	})})
	return &streamPeer{rawPeer: p}
}

func (p *streamPeer) request(id uint64, op wire.OpType, s wire.Session) {
	p.write(wire.Header{Kind: wire.KindRequest, ID: id, Op: op, Session: s, Flags: wire.FlagStream | wire.FlagEnd}, nil,
		nil)
}

func (p *streamPeer) grant(id uint64, n int) {
	p.write(wire.Header{Kind: wire.KindCredit, ID: id, Op: wire.OpRead, Session: wire.SessionRepair},
		wire.AppendUint(nil, uint64(n)), nil)
}

// want reads exactly these chunks of a call, and then makes sure that no other follows: pongs and answers go
// past a sender that has more to send.
func (p *streamPeer) want(id uint64, chunks, bytes int) {
	p.t.Helper()
	for i := range chunks {
		f := p.read()
		if f.Kind != wire.KindChunk || f.ID != id || len(f.Raw) != bytes {
			p.t.Fatalf("chunk %d: got %s with %d bytes, want %d bytes of call %d", i, f.Header, len(f.Raw), bytes, id)
		}
	}
	for range 20 {
		p.pings++
		p.write(wire.Header{Kind: wire.KindPing, ID: p.pings}, nil, nil)
		if f := p.read(); f.Kind != wire.KindPong || f.ID != p.pings {
			p.t.Fatalf("after %d chunks of call %d: got %s with %d bytes, want nothing but the pong", chunks, id, f.Header,
				len(f.Raw))
		}
	}
}

// TestRepairYields: a stream of repair takes the whole window in whole chunks as long as it is alone, and sends
// little at once beside others, as all such streams do together.
func TestRepairYields(t *testing.T) {
	const piece = DefaultWindowBytes / yieldChunkParts
	p := newStreamPeer(t)
	p.request(1, wire.OpRead, wire.SessionRepair)
	p.want(1, 3, wire.MaxChunkBytes) // a fourth would cost more than is left

	p.request(2, wire.OpStatus, wire.SessionClient)
	if f := p.read(); f.Kind != wire.KindResponse || f.ID != 2 {
		t.Fatalf("got %s, want the response to call 2", f.Header)
	}
	p.grant(1, 3*chunkCost(wire.MaxChunkBytes))
	p.want(1, 1, wire.MaxChunkBytes) // the sender had it in hand before the call came
	p.grant(1, chunkCost(wire.MaxChunkBytes))
	p.want(1, yieldChunks, piece)

	// Another stream finds nothing left but what none is denied.
	p.request(3, wire.OpRead, wire.SessionRepair)
	p.want(3, 1, piece)

	// Once the first ends, what it had on the way is the other's.
	p.write(wire.Header{Kind: wire.KindCancel, ID: 1, Op: wire.OpRead, Session: wire.SessionRepair}, nil, nil)
	left := yieldChunks - 1
	for f := p.read(); f.Kind != wire.KindError; f = p.read() {
		left-- // a chunk of call 3 may come before the end of call 1
	}
	p.want(3, left, piece)
}

// TestRepairRecovers: alone again, repair is as fast as before.
func TestRepairRecovers(t *testing.T) {
	p := newStreamPeer(t)
	p.request(1, wire.OpStatus, wire.SessionClient)
	p.read()
	p.request(2, wire.OpRead, wire.SessionRepair)
	for range yieldFor {
		f := p.read()
		if len(f.Raw) == wire.MaxChunkBytes {
			t.Fatal("a large chunk right beside another session's call")
		}
		p.grant(2, chunkCost(len(f.Raw)))
		p.write(wire.Header{Kind: wire.KindCredit, Session: wire.SessionRepair},
			wire.AppendUint(nil, uint64(chunkCost(len(f.Raw)))), nil)
	}
	if f := p.read(); len(f.Raw) != wire.MaxChunkBytes {
		t.Fatalf("a chunk of %d bytes after %d small ones, want %d", len(f.Raw), yieldFor, wire.MaxChunkBytes)
	}
}
