package mux

import (
	"bufio"
	"context"
	"testing"

	"github.com/datanode/datanode/wire"
)

// greetRaw makes a server Conn whose other end is a rawPeer that has said hello.
func greetRaw(t *testing.T, hello wire.Hello, cfg Config) (*Conn, *rawPeer) {
	t.Helper()
	cnc, snc := tcpPair(t)
	p := &rawPeer{t: t, nc: cnc, rd: bufio.NewReader(cnc)}
	p.writeBytes(rawHello(t, hello))
	c, err := Server(context.Background(), snc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cnc.Close()
	})
	p.read()
	return c, p
}

// A chunk that comes twice, is left out, or overtakes another is of the right call and yet in the
// wrong place. A peer that says where its chunks begin is held to it; one that does not still talks.
func TestChunkOffsets(t *testing.T) {
	cases := map[string]struct {
		features wire.Features
		offsets  []uint64 // of chunks of four bytes each
		bad      bool
	}{
		"in order":       {wire.FeatureChunkOffset, []uint64{0, 4, 8}, false},
		"twice":          {wire.FeatureChunkOffset, []uint64{0, 4, 4}, true},
		"left out":       {wire.FeatureChunkOffset, []uint64{0, 8}, true},
		"overtaken":      {wire.FeatureChunkOffset, []uint64{4, 0}, true},
		"without offset": {0, []uint64{0, 0, 0}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			seen := make(chan Mismatch, 1)
			got := make(chan int, 1)
			conn, p := greetRaw(t, wire.Hello{Node: "liar", Features: c.features}, Config{
				OnMismatch: func(m Mismatch) { seen <- m },
				Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
					n := 0
					for {
						b, err := sc.Recv()
						if err != nil {
							break
						}
						n += len(b)
					}
					got <- n
				})})
			h := wire.Header{Kind: wire.KindRequest, ID: 1, Op: wire.OpPut, Session: wire.SessionAppend}
			p.write(h, nil, nil)
			h.Kind = wire.KindChunk
			for i, at := range c.offsets {
				h.MinIndex = at
				if i == len(c.offsets)-1 {
					h.Flags = wire.FlagEnd
				}
				p.write(h, nil, []byte("four"))
			}
			if !c.bad {
				if n := <-got; n != 4*len(c.offsets) || len(seen) > 0 {
					t.Errorf("%d bytes arrived, want %d; %v", n, 4*len(c.offsets), conn.Err())
				}
				return
			}
			if m := <-seen; m.Kind != MismatchChunk {
				t.Errorf("mismatch of kind %s: %+v", m.Kind, m)
			}
			<-conn.Done()
		})
	}
}
