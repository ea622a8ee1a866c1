package mux

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/wire"
)

// wrongAnswer is what a peer may answer instead of a and b, and what that is called.
type wrongAnswer struct {
	kind MismatchKind
	lie  func(p *rawPeer, a, b wire.Header)
}

func wrongAnswers() map[string]wrongAnswer {
	credit := wire.AppendUint(nil, 1)
	return map[string]wrongAnswer{
		"other operation": {MismatchOperation, func(p *rawPeer, a, _ wire.Header) { a.Op++; p.write(a, nil, nil) }},
		"other session": {MismatchSession,
			func(p *rawPeer, a, _ wire.Header) { a.Session = wire.SessionRepair; p.write(a, nil, nil) }},
		"id never issued": {MismatchUnknownCall, func(p *rawPeer, a, _ wire.Header) { a.ID += 100; p.write(a, nil, nil) }},
		"ids swapped": {MismatchOperation,
			func(p *rawPeer, a, b wire.Header) { a.ID, b.ID = b.ID, a.ID; p.write(a, nil, nil) }},
		"chunk when unary": {MismatchChunk,
			func(p *rawPeer, a, _ wire.Header) { a.Kind = wire.KindChunk; p.write(a, nil, []byte("x")) }},
		"chunk of no call": {MismatchUnknownCall,
			func(p *rawPeer, a, _ wire.Header) { a.Kind = wire.KindChunk; a.ID = 99; p.write(a, nil, []byte("x")) }},
		"credit of no call": {MismatchUnknownCall,
			func(p *rawPeer, a, _ wire.Header) { a.Kind = wire.KindCredit; a.ID = 99; p.write(a, credit, nil) }},
		"credit, other op": {MismatchOperation,
			func(p *rawPeer, a, _ wire.Header) { a.Kind = wire.KindCredit; a.Op++; p.write(a, credit, nil) }},
		"error, other op": {MismatchOperation,
			func(p *rawPeer, a, _ wire.Header) { a.Kind = wire.KindError; a.Op++; p.write(a, errorBody(p.t), nil) }},
		"request": {MismatchDirection,
			func(p *rawPeer, a, _ wire.Header) { a.Kind = wire.KindRequest; p.write(a, nil, nil) }},
		"cancel": {MismatchDirection,
			func(p *rawPeer, a, _ wire.Header) { a.Kind = wire.KindCancel; p.write(a, nil, nil) }},
		"hello again": {MismatchDirection,
			func(p *rawPeer, _, _ wire.Header) { p.write(wire.Header{Kind: wire.KindHello}, nil, nil) }},
		"pong without ping": {MismatchPong,
			func(p *rawPeer, _, _ wire.Header) { p.write(wire.Header{Kind: wire.KindPong, ID: 1}, nil, nil) }},
		"response said again": {MismatchEndedCall, func(p *rawPeer, a, _ wire.Header) {
			p.write(a, nil, []byte("mine"))
			p.write(a, nil, []byte("mine"))
		}},
		"chunk, other session": {MismatchSession, func(p *rawPeer, a, _ wire.Header) {
			a.Kind, a.Session = wire.KindChunk, wire.SessionRepair
			p.write(a, nil, []byte("x"))
		}},
	}
}

// Whatever a peer answers wrongly, the caller gets an error, never another's bytes, and the connection
// is closed.
func TestMismatchPoisonsClient(t *testing.T) {
	for name, c := range wrongAnswers() {
		t.Run(name, func(t *testing.T) {
			seen := make(chan Mismatch, 1)
			conn, p := dialRaw(t, tcpPair, Config{OnMismatch: func(m Mismatch) { seen <- m }})
			results := make(chan error, 2)
			go func() { results <- callForMine(conn, wire.OpRead) }()
			first := p.read()
			go func() { results <- callForMine(conn, wire.OpPut) }()
			second := p.read()
			c.lie(p, answer(first), answer(second))
			failed := 0
			for range 2 {
				if err := <-results; err == nil {
					continue
				} else if wire.CodeOf(err) != wire.CodeConnection || wire.OutcomeOf(err) != wire.Unknown {
					t.Errorf("got %v (%s), want a connection error with outcome unknown", err, wire.OutcomeOf(err))
				}
				failed++
			}
			if want := 2 - strings.Count(name, "again")*strings.Count(name, "response"); failed != want {
				t.Errorf("%d calls failed, want %d", failed, want)
			}
			m := <-seen
			if m.Peer != "liar" || m.Reason == "" || m.Kind != c.kind {
				t.Errorf("mismatch of kind %s, want %s: %+v", m.Kind, c.kind, m)
			}
			<-conn.Done()
			if n := conn.Stats().Mismatches; n != 1 {
				t.Errorf("%d mismatches counted, want 1", n)
			}
			if _, err := conn.Call(context.Background(), Request{Op: 1, Session: 1}); wire.OutcomeOf(err) != wire.NotDone {
				t.Errorf("call on a poisoned connection: %v, want one that was not done", err)
			}
		})
	}
}

// callForMine makes a call whose true answer is "mine".
func callForMine(conn *Conn, op wire.OpType) error {
	r, err := conn.Call(context.Background(), Request{Op: op, Session: wire.SessionClient})
	if err == nil && string(r.Raw) != "mine" {
		err = errors.New("answered by the lie")
	}
	return err
}

func errorBody(t *testing.T) []byte {
	b, err := wire.Marshal(wire.Errorf(1, wire.CodeInternal, "x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is no frame, or no honest one, ends the connection too.
func TestBadFramesPoison(t *testing.T) {
	good := wire.AppendFrame(nil, &wire.Header{Kind: wire.KindPing, ID: 1}, nil, nil)
	corrupt := append([]byte(nil), good...)
	corrupt[6] ^= 1
	cases := map[string]struct {
		bytes []byte
		want  string
	}{
		"over the limit": {[]byte{0xff, 0xff, 0xff, 0x7f}, "want 18 to"},
		"too short":      {[]byte{1, 0, 0, 0}, "want 18 to"},
		"bad crc":        {corrupt, "CRC"},
		"cut off":        {good[:8], "in the middle of a frame"},
		"hung up":        {nil, "closed by the peer"},
		"credit overrun": {wire.AppendFrame(nil, &wire.Header{Kind: wire.KindCredit, Session: 1}, wire.AppendUint(nil, 1),
			nil), "had used less"},
	}
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) {
			c, p := dialRaw(t, tcpPair, Config{})
			result := make(chan error, 1)
			go func() {
				_, err := c.Call(context.Background(), Request{Op: wire.OpRead, Session: wire.SessionClient})
				result <- err
			}()
			p.read()
			p.writeBytes(bad.bytes)
			if name == "cut off" || name == "hung up" {
				p.nc.Close()
			}
			err := <-result
			if wire.CodeOf(err) != wire.CodeConnection || wire.OutcomeOf(err) != wire.Unknown ||
				!strings.Contains(err.Error(), bad.want) {
				t.Fatalf("got %v, want a connection error with %q", err, bad.want)
			}
		})
	}
}

func TestMismatchPoisonsServer(t *testing.T) {
	request := wire.Header{Kind: wire.KindRequest, ID: 5, Op: wire.OpPut, Session: wire.SessionAppend,
		Flags: wire.FlagStream}
	chunk := wire.Header{Kind: wire.KindChunk, ID: 5, Op: wire.OpPut, Session: wire.SessionAppend}
	credit := wire.AppendUint(nil, 0)
	cases := map[string]struct {
		kind MismatchKind
		lie  func(p *rawPeer)
	}{
		"id used before":  {MismatchReusedID, func(p *rawPeer) { p.write(request, nil, nil) }},
		"id going back":   {MismatchReusedID, func(p *rawPeer) { r := request; r.ID = 4; p.write(r, nil, nil) }},
		"chunk, other op": {MismatchOperation, func(p *rawPeer) { f := chunk; f.Op++; p.write(f, nil, []byte("x")) }},
		"chunk, other session": {MismatchSession,
			func(p *rawPeer) { f := chunk; f.Session = 1; p.write(f, nil, []byte("x")) }},
		"chunk of no call": {MismatchUnknownCall,
			func(p *rawPeer) { f := chunk; f.ID = 6; p.write(f, nil, []byte("x")) }},
		"cancel of no call": {MismatchUnknownCall,
			func(p *rawPeer) { f := chunk; f.Kind = wire.KindCancel; f.ID = 6; p.write(f, nil, nil) }},
		"response": {MismatchDirection,
			func(p *rawPeer) { f := chunk; f.Kind = wire.KindResponse; p.write(f, nil, nil) }},
		"chunk after the end": {MismatchChunk, func(p *rawPeer) {
			f := chunk
			f.Flags = wire.FlagEnd
			p.write(f, nil, nil)
			p.write(f, nil, []byte("x"))
		}},
		"error": {MismatchDirection,
			func(p *rawPeer) { f := chunk; f.Kind = wire.KindError; p.write(f, errorBody(p.t), nil) }},
		"pong without ping": {MismatchPong,
			func(p *rawPeer) { p.write(wire.Header{Kind: wire.KindPong, ID: 1}, nil, nil) }},
		"cancel, other op": {MismatchOperation,
			func(p *rawPeer) { f := chunk; f.Kind, f.Op = wire.KindCancel, wire.OpRead; p.write(f, nil, nil) }},
		"cancel, other session": {MismatchSession,
			func(p *rawPeer) { f := chunk; f.Kind, f.Session = wire.KindCancel, 1; p.write(f, nil, nil) }},
		"credit of no call": {MismatchUnknownCall,
			func(p *rawPeer) { f := chunk; f.Kind, f.ID = wire.KindCredit, 6; p.write(f, credit, nil) }},
		"credit, other op": {MismatchOperation,
			func(p *rawPeer) { f := chunk; f.Kind, f.Op = wire.KindCredit, wire.OpRead; p.write(f, credit, nil) }},
		"credit, other session": {MismatchSession,
			func(p *rawPeer) { f := chunk; f.Kind, f.Session = wire.KindCredit, 1; p.write(f, credit, nil) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			seen := make(chan Mismatch, 1)
			conn, p := acceptRaw(t, tcpPair, Config{
				Handler:    HandlerFunc(func(ctx context.Context, _ *ServerCall) { <-ctx.Done() }),
				OnMismatch: func(m Mismatch) { seen <- m },
			})
			p.write(request, nil, nil)
			c.lie(p)
			if m := <-seen; m.Kind != c.kind || m.Peer != "liar" {
				t.Errorf("mismatch of kind %s, want %s: %+v", m.Kind, c.kind, m)
			}
			<-conn.Done()
		})
	}
}

// A peer that sends more than it was allowed is cut off.
func TestWindowOverrun(t *testing.T) {
	c, p := acceptRaw(t, tcpPair, Config{WindowBytes: 8 << 10,
		Handler: HandlerFunc(func(ctx context.Context, _ *ServerCall) { <-ctx.Done() })})
	h := wire.Header{Kind: wire.KindRequest, ID: 1, Op: wire.OpPut, Session: wire.SessionAppend, Flags: wire.FlagStream}
	p.write(h, nil, nil)
	h.Kind, h.Flags = wire.KindChunk, 0
	p.write(h, nil, make([]byte, 8<<10-wire.ChunkCost))
	p.write(h, nil, make([]byte, 1))
	<-c.Done()
	if !strings.Contains(c.Err().Error(), "exceeds the call's window") {
		t.Fatal(c.Err())
	}
}

// The windows of two calls together may exceed that of their session, which holds all the same.
func TestSessionWindowOverrun(t *testing.T) {
	c, p := acceptRaw(t, tcpPair, Config{WindowBytes: 8 << 10, SessionWindowBytes: 8 << 10,
		Handler: HandlerFunc(func(ctx context.Context, _ *ServerCall) { <-ctx.Done() })})
	h := wire.Header{Kind: wire.KindRequest, Op: wire.OpPut, Session: wire.SessionAppend, Flags: wire.FlagStream}
	for id := range uint64(2) {
		h.ID, h.Kind, h.Flags = id+1, wire.KindRequest, wire.FlagStream
		p.write(h, nil, nil)
		h.Kind, h.Flags = wire.KindChunk, 0
		p.write(h, nil, make([]byte, 6<<10))
	}
	<-c.Done()
	if !strings.Contains(c.Err().Error(), "exceeds the session's window") {
		t.Fatal(c.Err())
	}
}

// A request that crosses the goaway is refused, as not done.
func TestRequestAfterGoAway(t *testing.T) {
	c, p := acceptRaw(t, tcpPair, Config{Handler: HandlerFunc(echo)})
	if err := c.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if f := p.read(); f.Kind != wire.KindGoAway {
		t.Fatalf("got %s, want a goaway", f.Header)
	}
	p.write(wire.Header{Kind: wire.KindRequest, ID: 1, Op: 1, Session: 1, Flags: wire.FlagEnd}, nil, nil)
	f := p.read()
	var e wire.Error
	if err := wire.Unmarshal(f.Body, &e); err != nil || e.Code != wire.CodeUnavailable || e.Outcome != wire.NotDone {
		t.Fatalf("got %s with %+v, %v, want unavailable, not done", f.Header, e, err)
	}
}

// A peer may answer before it has read the request. The caller gets its bytes back only when they are
// no longer being written.
func TestAnswerBeforeTheRequestIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := dialRaw(t, pipePair, Config{PingEvery: -1})
		raw := make([]byte, 1<<20)
		returned := make(chan error, 1)
		go func() {
			_, err := c.Call(context.Background(), Request{Op: 1, Session: 1, Raw: raw})
			clear(raw) // a race, if the writer still reads it
			returned <- err
		}()
		head, err := p.rd.Peek(4 + wire.MaxHeaderBytes)
		if err != nil {
			t.Fatal(err)
		}
		_, request, err := wire.ParseHeader(head[4:])
		if err != nil {
			t.Fatal(err)
		}
		p.write(answer(wire.Frame{Header: request}), nil, nil)
		synctest.Wait()
		if len(returned) > 0 {
			t.Error("the call returned while its bytes were being written")
		}
		p.read()
		if err := <-returned; err != nil {
			t.Error(err)
		}
	})
}

// Of the calls on a connection that dies, those never written were not done.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := dialRaw(t, pipePair, Config{})
		outcomes := make(chan wire.Outcome, 2)
		call := func(ctx context.Context) {
			_, err := c.Call(ctx, Request{Op: wire.OpRead, Session: wire.SessionClient})
			outcomes <- wire.OutcomeOf(err)
		}
		go call(context.Background())
		synctest.Wait() // it is being written to a pipe that nobody reads
		ctx, cancel := context.WithCancel(context.Background())
		go call(ctx)
		synctest.Wait()
		cancel()
		if o := <-outcomes; o != wire.NotDone {
			t.Errorf("cancelled before it was written: %s, want not-done", o)
		}
		go call(context.Background())
		synctest.Wait()
		p.nc.Close()
		if a, b := <-outcomes, <-outcomes; a+b != wire.NotDone+wire.Unknown {
			t.Errorf("outcomes %s and %s, want one not-done and one unknown", a, b)
		}
	})
}

func pipePair(*testing.T) (net.Conn, net.Conn) { return net.Pipe() }

// A peer that takes no notice of pings is dead.
func TestDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := dialRaw(t, pipePair, Config{PingEvery: time.Second, PingTimeout: time.Second})
		if f := p.read(); f.Kind != wire.KindPing {
			t.Fatalf("got %s, want a ping", f.Header)
		} else {
			p.write(wire.Header{Kind: wire.KindPong, ID: f.ID}, nil, nil)
		}
		p.read()
		<-c.Done()
		if !strings.Contains(c.Err().Error(), "did not answer a ping within 1s") {
			t.Fatal(c.Err())
		}
	})
}

func TestNoHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, snc := net.Pipe()
		if _, err := Server(context.Background(), snc, Config{}); wire.CodeOf(err) != wire.CodeDeadline {
			t.Errorf("server: %v, want a deadline", err)
		}
		cnc, _ := net.Pipe()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := Client(ctx, cnc, Config{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("client: %v, want a deadline", err)
		}
	})
}

// One client frame waits for one bulk frame at most.
func TestFairShare(t *testing.T) {
	var q sendQueue
	for range 100 {
		q.push(outFrame{hdr: wire.Header{Session: wire.SessionRepair}})
	}
	if f, _ := q.pop(); f.hdr.Session != wire.SessionRepair {
		t.Fatal("repair has the sender to itself, and gets nothing")
	}
	q.push(outFrame{hdr: wire.Header{Session: wire.SessionClient}})
	q.pushControl(outFrame{hdr: wire.Header{Kind: wire.KindPong}})
	if f, _ := q.pop(); f.hdr.Kind != wire.KindPong {
		t.Fatal("the pong waits")
	}
	a, _ := q.pop()
	b, _ := q.pop()
	if a.hdr.Session != wire.SessionClient && b.hdr.Session != wire.SessionClient {
		t.Fatal("the client's frame waits for more than one of repair")
	}
	n := 0
	q.remove(wire.SessionRepair, func(*outFrame) bool { return n%2 == 0 }, func(*outFrame) { n++ })
	for ok := true; ok; _, ok = q.pop() {
	}
	if q.length != 0 {
		t.Fatalf("%d frames left in an empty queue", q.length)
	}
}

// Each kind has a name of its own, and no more names exist than kinds.
func TestMismatchKindsAreBounded(t *testing.T) {
	seen := map[string]bool{MismatchKind(0).String(): true}
	for _, k := range MismatchKinds() {
		if seen[k.String()] {
			t.Errorf("kind %d is called %s like another", k, k)
		}
		seen[k.String()] = true
	}
	for k := range 256 {
		if !seen[MismatchKind(k).String()] {
			t.Errorf("kind %d has the name %s, which MismatchKinds does not know", k, MismatchKind(k))
		}
	}
}
