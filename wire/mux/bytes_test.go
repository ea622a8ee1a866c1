package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/wire"
)

// inParts is p in three parts, with or without their sum.
func inParts(p []byte, summed bool) Bytes {
	b := Bytes{Parts: [][]byte{p[:len(p)/3], p[len(p)/3 : len(p)/2], p[len(p)/2:]}, Summed: summed}
	if summed {
		b.Sum = crc32c.Sum(p)
	}
	return b
}

// echoParts sends back, in parts and with the sums that came, all that it is sent.
func echoParts(_ context.Context, sc *ServerCall) {
	for sc.Streams() {
		p, sum, err := sc.RecvSum()
		if errors.Is(err, io.EOF) {
			break
		}
		b := inParts(p, false)
		b.Sum, b.Summed = sum, true
		if err != nil || sc.SendBytes(b) != nil {
			return
		}
	}
	b := Bytes{}
	if len(sc.Raw()) > 0 {
		b = inParts(sc.Raw(), false)
		b.Sum, b.Summed = sc.RawSum(), true
	}
	_ = sc.ReplyBytes(nil, b)
}

// Bytes in parts arrive as one, with their sum, whether they are few or many, and whether it was known before; directly
// and through a relay.
func TestBytesInParts(t *testing.T) {
	sizes := []int{9, 1000, 5000, borrowBytes, borrowBytes + 1, 200_000}
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		farClient, farServer := tcpPair(t)
		hop, _ := connect(t, farClient, farServer, Config{}, Config{Handler: HandlerFunc(echoParts)})
		relay := func(ctx context.Context, sc *ServerCall) {
			if sc.Session() == wire.SessionClient {
				echoParts(ctx, sc)
				return
			}
			_ = Relay(ctx, sc, hop)
		}
		c, _ := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(relay)})
		for _, session := range []wire.Session{wire.SessionClient, wire.SessionAppend} {
			for _, n := range sizes {
				p := bytes.Repeat([]byte{1, 2, 3, 5, 7, 11, 13}, n)[:n]
				r, err := c.Call(t.Context(), Request{Op: wire.OpRead, Session: session, Raw: p, RawSum: crc32c.Sum(p),
					RawSummed: n%2 == 0})
				if err != nil || !bytes.Equal(r.Raw, p) || r.RawSum() != crc32c.Sum(p) {
					t.Fatalf("%s, %d bytes in a reply: %d came, sum %08x, %v", session, n, len(r.Raw), r.RawSum(), err)
				}
				echoedParts(t, c, session, p)
			}
		}
	})
}

// echoedParts sends p as a chunk and wants it back as one.
func echoedParts(t *testing.T, c *Conn, session wire.Session, p []byte) {
	t.Helper()
	s, err := c.Open(t.Context(), Request{Op: wire.OpRead, Session: session})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, summed := range []bool{true, false} {
		if err := s.SendBytes(inParts(p, summed)); err != nil {
			t.Fatal(err)
		}
		got, sum, err := s.RecvSum()
		if err != nil || !bytes.Equal(got, p) || sum != crc32c.Sum(p) {
			t.Fatalf("%s, a chunk of %d bytes, summed before: %v: %d came, sum %08x, %v", session, len(p), summed, len(got),
				sum, err)
		}
	}
}

// More than a chunk may have is split, and the bytes are still the same.
func TestBytesOfManyChunks(t *testing.T) {
	client, server := tcpPair(t)
	c, _ := connect(t, client, server, Config{}, Config{Handler: HandlerFunc(echo)})
	s, err := c.Open(t.Context(), Request{Op: wire.OpPut, Session: wire.SessionAppend})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := bytes.Repeat([]byte("seven b"), 100_000)
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(s.SendBytes(inParts(p, true)), s.CloseSend()) }()
	var got []byte
	for {
		b, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b...)
	}
	if err := <-sent; err != nil || !bytes.Equal(got, p) {
		t.Errorf("%d bytes came of %d: %v", len(got), len(p), err)
	}
}

// A sum that is not that of the bytes never gets them believed.
func TestBytesWithWrongSum(t *testing.T) {
	client, server := tcpPair(t)
	wrong := func(_ context.Context, sc *ServerCall) {
		p := make([]byte, 5000)
		_ = sc.ReplyBytes(nil, Bytes{Parts: [][]byte{p}, Sum: crc32c.Sum(p) ^ 1, Summed: true})
	}
	c, _ := connect(t, client, server, Config{}, Config{Handler: HandlerFunc(wrong)})
	if _, err := c.Call(t.Context(), Request{Op: wire.OpRead, Session: 1}); wire.CodeOf(err) != wire.CodeConnection {
		t.Errorf("got %v, want the end of the connection", err)
	}
}
