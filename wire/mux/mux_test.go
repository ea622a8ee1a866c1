package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/datanode/datanode/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type message struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Number uint64
	Text   string
}

// transports are what the tests run over: one without any buffer, and a real socket.
var transports = map[string]func(t *testing.T) (client, server net.Conn){
	"pipe": func(*testing.T) (net.Conn, net.Conn) { return net.Pipe() },
	"tcp":  tcpPair,
}

func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func overBoth(t *testing.T, f func(t *testing.T, client, server net.Conn)) {
	for name, pair := range transports {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			f(t, client, server)
		})
	}
}

func takePreamble(t *testing.T, nc net.Conn) {
	var b [1]byte
	if _, err := io.ReadFull(nc, b[:]); err != nil || b[0] != wire.PreambleFrames {
		t.Errorf("preamble %q, %v", b, err)
	}
}

// connect makes both ends of a connection, which the test's end closes.
func connect(t *testing.T, cnc, snc net.Conn, ccfg, scfg Config) (client, server *Conn) {
	t.Helper()
	ctx := t.Context()
	ccfg.Hello.Cell, scfg.Hello.Cell = "c1", "c1"
	scfg.Hello.Node = "n1"
	accepted := make(chan struct{})
	var serverErr error
	go func() {
		defer close(accepted)
		takePreamble(t, snc)
		server, serverErr = Server(ctx, snc, scfg)
	}()
	client, err := Client(ctx, cnc, ccfg)
	<-accepted
	if err != nil || serverErr != nil {
		t.Fatalf("client: %v, server: %v", err, serverErr)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// echo answers with the request, and sends back the chunks it gets.
func echo(_ context.Context, sc *ServerCall) {
	for sc.Streams() {
		p, err := sc.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || sc.Send(p) != nil {
			return
		}
	}
	sc.SetIndex(sc.Fence(), sc.MinIndex())
	_ = sc.Reply(wire.Encoded(sc.Body()), sc.Raw())
}

func TestUnary(t *testing.T) {
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		c, _ := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(echo)})
		if c.Peer().Node != "n1" {
			t.Errorf("peer is %q", c.Peer().Node)
		}
		for _, size := range []int{0, 1, 1000, borrowBytes, borrowBytes + 1, 1 << 20} {
			raw := bytes.Repeat([]byte{byte(size)}, size)
			r, err := c.Call(t.Context(), Request{Op: wire.OpPut, Session: wire.SessionClient, Fence: 5, MinIndex: 1 << 40,
				Body: &message{Number: 7, Text: "x"}, Raw: raw})
			if err != nil {
				t.Fatal(err)
			}
			var m message
			if err := r.Decode(&m); err != nil || m.Number != 7 || m.Text != "x" {
				t.Errorf("got %+v, %v", m, err)
			}
			if !bytes.Equal(r.Raw, raw) || r.Fence != 5 || r.MinIndex != 1<<40 {
				t.Errorf("raw of %d bytes came back as %d, fence %d, index %d", size, len(r.Raw), r.Fence, r.MinIndex)
			}
		}
	})
}

// Many callers share a connection, and each gets the answer to its own question.
func TestEveryAnswerIsOnesOwn(t *testing.T) {
	const callers, calls = 64, 50
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		c, _ := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(echo)})
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range calls {
					want := message{Number: uint64(caller), Text: fmt.Sprintf("%d/%d", caller, i)}
					raw := bytes.Repeat([]byte(want.Text), (caller*i*37)%9000)
					r, err := c.Call(t.Context(), Request{Op: wire.OpType(1 + caller%4), Session: wire.Session(1 + i%5), Body: &want,
						Raw: raw})
					if err != nil {
						t.Errorf("%s: %v", want.Text, err)
						return
					}
					var got message
					if err := r.Decode(&got); err != nil || got != want || !bytes.Equal(raw, r.Raw) {
						t.Errorf("got %+v and %d bytes, want %+v and %d bytes: %v", got, len(r.Raw), want, len(raw), err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestStreamBothWays(t *testing.T) {
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		small := Config{WindowBytes: 16 << 10, SessionWindowBytes: 24 << 10}
		scfg := small
		scfg.Handler = HandlerFunc(echo)
		c, server := connect(t, cnc, snc, small, scfg)
		s, err := c.Open(t.Context(), Request{Op: wire.OpPut, Session: wire.SessionAppend})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sent := make([]byte, 1<<20)
		for i := range sent {
			sent[i] = byte(i * i >> 8)
		}
		go func() {
			if err := s.Send(sent); err != nil {
				t.Error(err)
			}
			if err := s.CloseSend(); err != nil {
				t.Error(err)
			}
		}()
		got := recvAll(t, s)
		if _, err := s.Reply(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes came back as %d others", len(sent), len(got))
		}
		if c.Stats().CreditStalls+server.Stats().CreditStalls == 0 {
			t.Error("nobody waited for credit with a window of 16 KiB for 1 MiB")
		}
	})
}

// recvAll is what comes until the other side ends its half of a stream.
func recvAll(t *testing.T, s *Stream) []byte {
	t.Helper()
	var got []byte
	for {
		p, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p...)
	}
}
