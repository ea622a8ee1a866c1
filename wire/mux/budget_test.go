package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/wire"
)

// Whatever connections take and give, no more is taken than there is, each gets its reserve, none has more
// of the pool than it leaves, and all is there again when all is given back.
func TestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const pool, reserve = 1 << 20, 64 << 10
		b := NewBudget(pool, reserve)
		shares := []*Share{b.NewShare(), b.NewShare(), b.NewShare()}
		accounts := make([]account, rapid.IntRange(1, 20).Draw(t, "accounts"))
		held := make([]int, len(accounts))
		for i := range accounts {
			accounts[i].share = shares[i%len(shares)]
		}
		check := func() {
			sum, taken := 0, int64(0)
			for i := range accounts {
				sum += held[i]
				taken += accounts[i].taken
				if accounts[i].held != int64(held[i]) || accounts[i].held > reserve+accounts[i].taken ||
					accounts[i].taken >= max(accounts[i].held-reserve, 0)+budgetLumpBytes {
					t.Fatalf("account %d holds %d, %d of the pool, want %d", i, accounts[i].held, accounts[i].taken, held[i])
				}
			}
			if sum > pool+len(accounts)*reserve || taken != b.taken.Load() || taken > pool {
				t.Fatalf("%d bytes held, %d of the pool, which says %d", sum, taken, b.taken.Load())
			}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			i := rapid.IntRange(0, len(accounts)-1).Draw(t, "account")
			n := rapid.IntRange(1, 300<<10).Draw(t, "bytes")
			if rapid.Bool().Draw(t, "give") {
				n = min(n, held[i])
				accounts[i].give(n)
				held[i] -= n
			} else if before := b.taken.Load(); accounts[i].take(n) {
				held[i] += n
				if own := accounts[i].share.taken.Load(); b.taken.Load() > before && own > pool-b.taken.Load() {
					t.Fatalf("a share has taken %d and leaves %d", own, pool-b.taken.Load())
				}
			} else if held[i]+n <= reserve {
				t.Fatalf("account %d holds %d and does not get %d of its reserve", i, held[i], n)
			}
			check()
		}
		for i := range accounts {
			accounts[i].give(held[i])
			held[i] = 0
		}
		check()
		if b.Taken() != 0 {
			t.Fatalf("%d bytes taken by nobody", b.Taken())
		}
	})
}

// However many connections a machine has, it takes half of the pool at most, and leaves another as much of
// the rest.
func TestBudgetIsShared(t *testing.T) {
	const pool = 256 << 20
	b := NewBudget(pool, 0)
	takeAll := func() (sum int64) {
		machine := b.NewShare()
		for range 100 {
			greedy := account{share: machine}
			for greedy.take(budgetLumpBytes) {
				sum += budgetLumpBytes
			}
		}
		return sum
	}
	for want := int64(pool / 2); want > pool/32; want /= 2 {
		if got := takeAll(); got != want {
			t.Errorf("a machine gets %d of %d, want %d", got, pool, want)
		}
	}
	if b.Refused() == 0 {
		t.Error("nobody was refused")
	}
}

func holdUntilCancelled(ctx context.Context, _ *ServerCall) { <-ctx.Done() }

// requestOf is the header of a request whose caller takes no chunks and sends none.
func requestOf(id uint64) wire.Header {
	return wire.Header{Kind: wire.KindRequest, ID: id, Op: wire.OpPut, Session: wire.SessionAppend, Flags: wire.FlagEnd}
}

func (p *rawPeer) readError() (wire.Frame, wire.Error) {
	p.t.Helper()
	f := p.read()
	var e wire.Error
	if f.Kind != wire.KindError {
		p.t.Fatalf("got %s, want an error", f.Header)
	}
	if err := wire.Unmarshal(f.Body, &e); err != nil {
		p.t.Fatal(err)
	}
	return f, e
}

// A request that finds no room is refused as not done, small or too large for the read buffer, and the
// connection stays; when calls end there is room again.
func TestRequestsBeyondTheBudget(t *testing.T) {
	for name, size := range map[string]int{"small": 4 << 10, "large": 128 << 10} {
		t.Run(name, func(t *testing.T) {
			b := NewBudget(0, 2*(size+callBytes)+size)
			c, p := acceptRaw(t, tcpPair, Config{Share: b.NewShare(), PingEvery: -1, Handler: HandlerFunc(holdUntilCancelled)})
			raw := make([]byte, size)
			for id := uint64(1); id <= 2; id++ {
				p.write(requestOf(id), nil, raw)
			}
			p.write(requestOf(3), nil, raw)
			if f, e := p.readError(); f.ID != 3 || e.Code != wire.CodeExhausted || e.Outcome != wire.NotDone {
				t.Fatalf("got %s with %+v, want call 3 exhausted, not done", f.Header, e)
			}
			cancel := requestOf(1)
			cancel.Kind, cancel.Flags = wire.KindCancel, 0
			p.write(cancel, nil, nil)
			if f, e := p.readError(); f.ID != 1 || e.Code != wire.CodeCancelled {
				t.Fatalf("got %s with %+v, want call 1 cancelled", f.Header, e)
			}
			for id := uint64(4); ; id++ { // the answer is written before its call has given all back
				p.write(requestOf(id), nil, raw)
				p.write(wire.Header{Kind: wire.KindPing, ID: id}, nil, nil)
				if f := p.read(); f.Kind == wire.KindPong {
					break
				}
				p.read()
			}
			c.Close()
			if b.Taken() != 0 || c.account.held != 0 {
				t.Errorf("%d bytes taken, %d held, after the end", b.Taken(), c.account.held)
			}
		})
	}
}

// A call whose chunk finds no room ends as exhausted. The others, the connection and its books go on.
func TestChunksBeyondTheBudget(t *testing.T) {
	b := NewBudget(0, 200<<10)
	failed := make(chan error, 1)
	c, p := acceptRaw(t, tcpPair, Config{Share: b.NewShare(), PingEvery: -1,
		Handler: HandlerFunc(func(ctx context.Context, sc *ServerCall) {
			if sc.Op() == wire.OpStatus {
				_ = sc.Reply(nil, nil)
				return
			}
			for ctx.Err() == nil { // takes nothing until it is told
				select {
				case <-ctx.Done():
				case <-time.After(time.Millisecond):
				}
				sc.c.mu.Lock()
				over := sc.over
				sc.c.mu.Unlock()
				if over != nil {
					_, err := sc.Recv()
					failed <- err
					_ = sc.Fail(err)
					return
				}
			}
		})})
	h := wire.Header{Kind: wire.KindRequest, ID: 1, Op: wire.OpPut, Session: wire.SessionAppend}
	p.write(h, nil, nil)
	h.Kind = wire.KindChunk
	for range 3 { // the third is one too many; the fourth is late
		p.write(h, nil, make([]byte, 90<<10))
	}
	p.write(h, nil, make([]byte, 90<<10))
	if f, e := p.readError(); f.ID != 1 || e.Code != wire.CodeExhausted || e.Outcome != wire.Unknown {
		t.Fatalf("got %s with %+v, want exhausted, unknown", f.Header, e)
	}
	if err := <-failed; wire.CodeOf(err) != wire.CodeExhausted {
		t.Errorf("the handler got %v", err)
	}
	status := requestOf(2)
	status.Op = wire.OpStatus
	p.write(status, nil, nil)
	if f := p.read(); f.Kind != wire.KindResponse || f.ID != 2 {
		t.Fatalf("got %s, want the answer of another call", f.Header)
	}
	c.mu.Lock()
	s := c.sessions[wire.SessionAppend]
	c.mu.Unlock()
	if s.used != s.owed {
		t.Errorf("the session has used %d and consumed %d: what was dropped is not given back", s.used, s.owed)
	}
}

// An answer that finds no room becomes the error that says so; a small one always finds some.
func TestAnswersBeyondTheBudget(t *testing.T) {
	b := NewBudget(0, 64<<10)
	c, p := acceptRaw(t, tcpPair, Config{Share: b.NewShare(), PingEvery: -1,
		Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
			if err := sc.Hold(2 * len(sc.Raw())); err == nil {
				t.Error("held more than there is")
			} else if wire.CodeOf(err) != wire.CodeExhausted || wire.OutcomeOf(err) != wire.NotDone {
				t.Error(err)
			}
			if sc.Op() == wire.OpPut {
				_ = sc.Reply(nil, make([]byte, 100<<10))
				return
			}
			_ = sc.Reply(nil, []byte("small"))
		})})
	h := requestOf(1)
	p.write(h, nil, make([]byte, 20<<10))
	if _, e := p.readError(); e.Code != wire.CodeExhausted || e.Outcome != wire.Done {
		t.Fatalf("got %+v, want exhausted, done", e)
	}
	for held := true; held && t.Context().Err() == nil; { // an answer may be here before its call has given all back
		runtime.Gosched()
		c.mu.Lock()
		held = len(c.served) > 0
		c.mu.Unlock()
		c.account.mu.Lock()
		held = held || c.account.held > 0
		c.account.mu.Unlock()
	}
	h.ID, h.Op = 2, wire.OpStatus
	p.write(h, nil, make([]byte, 20<<10))
	if f := p.read(); string(f.Raw) != "small" {
		t.Fatalf("got %s", f.Header)
	}
}

// A stream still ends when its small chunks find no room to be copied: its sender then waits for each.
func TestStreamWithoutBudget(t *testing.T) {
	near, far := tcpPair(t)
	b := NewBudget(0, 12<<10)
	client, _ := connect(t, near, far, Config{},
		Config{Share: b.NewShare(), Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
			for range 200 {
				if err := sc.Send(make([]byte, 8<<10)); err != nil {
					t.Error(err)
				}
			}
			_ = sc.Reply(nil, nil)
		})})
	s, err := client.Open(t.Context(), Request{Op: wire.OpRead, Session: wire.SessionClient, End: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := 0; ; {
		chunk, err := s.Recv()
		if errors.Is(err, io.EOF) && n == 200*8<<10 {
			return
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		n += len(chunk)
	}
}

// Frames that ask for nothing are taken for a while, and at a low rate for ever.
func TestFloods(t *testing.T) {
	done := requestOf(1)
	of := func(k wire.Kind) wire.Header { h := done; h.Kind, h.Flags = k, 0; return h }
	for name, f := range map[string]struct {
		h    wire.Header
		body []byte
		want string
	}{
		"pings":             {wire.Header{Kind: wire.KindPing, ID: 1}, nil, "flood"},
		"pings of number 0": {wire.Header{Kind: wire.KindPing}, nil, "without a number"},
		"goaways":           {wire.Header{Kind: wire.KindGoAway}, nil, "flood"},
		"cancels":           {of(wire.KindCancel), nil, "flood"},
		"credits of a call": {of(wire.KindCredit), []byte{0}, "flood"},
		"empty credits":     {wire.Header{Kind: wire.KindCredit, Session: 1}, []byte{0}, "flood"},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := acceptRaw(t, tcpPair, Config{PingEvery: -1, Handler: HandlerFunc(echo)})
			go func() { _, _ = io.Copy(io.Discard, p.nc) }()
			p.write(done, nil, nil)
			_, _ = p.nc.Write(bytes.Repeat(wire.AppendFrame(nil, &f.h, f.body, nil), 2*patienceAtMost)) // it hangs up
			<-c.Done()
			if !strings.Contains(c.Err().Error(), f.want) {
				t.Errorf("ended with %v, want %q", c.Err(), f.want)
			}
		})
	}
	p := patience{}
	now := time.Unix(0, 0)
	p.start(now)
	for i := range 100_000 {
		now = now.Add(time.Second / (patiencePerSecond / 2))
		if err := p.after(wire.KindPing, func() time.Time { return now }); err != nil {
			t.Fatalf("ping %d at half the rate: %v", i, err)
		}
	}
}

// Requests beyond the cap are refused, and end the connection when they go on.
func TestRequestsBeyondTheCap(t *testing.T) {
	c, p := acceptRaw(t, tcpPair, Config{PingEvery: -1, MaxInFlight: 4, Handler: HandlerFunc(holdUntilCancelled)})
	for id := uint64(1); id <= 5; id++ {
		p.write(requestOf(id), nil, nil)
	}
	if f, e := p.readError(); f.ID != 5 || e.Code != wire.CodeExhausted || e.Outcome != wire.NotDone {
		t.Fatalf("got %s with %+v, want call 5 exhausted, not done", f.Header, e)
	}
	go func() { _, _ = io.Copy(io.Discard, p.nc) }()
	var more []byte
	for id := uint64(6); id < patienceAtMost; id++ {
		h := requestOf(id)
		more = wire.AppendFrame(more, &h, nil, nil)
	}
	_, _ = p.nc.Write(more) // it hangs up
	<-c.Done()
}

// A peer whose requests cannot be decoded gets an answer for each, but not for ever.
func TestUndecodableRequests(t *testing.T) {
	c, p := acceptRaw(t, tcpPair, Config{PingEvery: -1, Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
		var m message
		_ = sc.Fail(sc.Decode(&m))
	})})
	for id := uint64(1); id <= maxUndecodable; id++ {
		p.write(requestOf(id), []byte{0xdd, 0, 0, 0, 9}, nil)
		if _, e := p.readError(); e.Code != wire.CodeInvalid {
			t.Fatalf("answered %+v, want invalid", e)
		}
	}
	p.write(requestOf(maxUndecodable+1), []byte{0xdd, 0, 0, 0, 9}, nil)
	<-c.Done()
}

// Large ones are answered less often.
func TestLargeUndecodableRequests(t *testing.T) {
	c, p := acceptRaw(t, tcpPair, Config{PingEvery: -1, Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
		var m message
		_ = sc.Fail(sc.Decode(&m))
	})})
	// two of them count as much as there may be, and a few more
	body := make([]byte, (maxUndecodable-1)*undecodableBytes/2)
	body[0] = 0xdd
	p.write(requestOf(1), body, nil)
	if _, e := p.readError(); e.Code != wire.CodeInvalid {
		t.Fatalf("answered %+v, want invalid", e)
	}
	for id := uint64(2); id <= 4; id++ {
		h := requestOf(id)
		_, _ = p.nc.Write(wire.AppendFrame(nil, &h, body, nil)) // it hangs up
	}
	<-c.Done()
	if !AtFault(c.Err()) {
		t.Errorf("closed for %v", c.Err())
	}
}

// A chunk has no more bytes than the format allows, whatever a frame may have.
func TestChunkTooLarge(t *testing.T) {
	c, p := acceptRaw(t, tcpPair, Config{PingEvery: -1, Handler: HandlerFunc(holdUntilCancelled)})
	h := wire.Header{Kind: wire.KindRequest, ID: 1, Op: wire.OpPut, Session: wire.SessionAppend}
	p.write(h, nil, nil)
	h.Kind = wire.KindChunk
	p.write(h, nil, make([]byte, wire.MaxChunkBytes))
	h.MinIndex = wire.MaxChunkBytes
	p.write(h, nil, make([]byte, wire.MaxChunkBytes+1))
	<-c.Done()
	if !strings.Contains(c.Err().Error(), "want 262144 at most") {
		t.Error(c.Err())
	}
}

// No frame may take longer than a ping's answer: nothing can be answered in the middle of one.
func TestSlowFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := acceptRaw(t, pipePair, Config{PingEvery: 5 * time.Second, PingTimeout: 15 * time.Second,
			Handler: HandlerFunc(echo)})
		go func() { _, _ = io.Copy(io.Discard, p.nc) }()
		h := requestOf(1)
		start := time.Now()
		for _, b := range wire.AppendFrame(nil, &h, nil, make([]byte, 1000)) {
			time.Sleep(time.Second) // of the bubble's time: it passes once all else waits
			if _, err := p.nc.Write([]byte{b}); err != nil {
				break
			}
		}
		<-c.Done()
		if took := time.Since(start); took > 21*time.Second {
			t.Errorf("a frame was waited for %s, want 20 s at most", took)
		}
	})
}

// A peer that reads nothing cannot stay by guessing: pings are not numbered one after the other.
func TestBlindPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := acceptRaw(t, pipePair, Config{PingEvery: 5 * time.Second, PingTimeout: 15 * time.Second,
			Handler: HandlerFunc(echo)})
		time.Sleep(6 * time.Second) // of the bubble's time, as below
		p.write(wire.Header{Kind: wire.KindPong, ID: 1}, nil, nil)
		time.Sleep(6 * time.Second) // the next is due by now
		if c.Err() == nil {
			_, _ = p.nc.Write(wire.AppendFrame(nil, &wire.Header{Kind: wire.KindPong, ID: 2}, nil, nil))
		}
		<-c.Done()
		var m *Mismatch
		if !errors.As(c.Err(), &m) || m.Kind != MismatchPong {
			t.Errorf("ended with %v, want a mismatch", c.Err())
		}
	})
}

// Handlers that have had nothing to do for a while end, but for one or two.
func TestIdleHandlersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipePair(t)
		release := make(chan struct{})
		client, server := connect(t, near, far, Config{},
			Config{Handler: HandlerFunc(func(_ context.Context, sc *ServerCall) {
				<-release
				_ = sc.Reply(nil, nil)
			})})
		answers := make(chan error, 40)
		for range cap(answers) {
			go func() {
				_, err := client.Call(context.Background(), Request{Op: wire.OpRead, Session: wire.SessionClient})
				answers <- err
			}()
		}
		synctest.Wait()
		close(release)
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		before := server.idleHandlers.Load()
		time.Sleep(2 * time.Minute) // of the bubble's time
		synctest.Wait()
		if n := server.idleHandlers.Load(); before < 30 || n > 1 {
			t.Errorf("%d handlers idle after 40 calls, %d two minutes later, want one at most", before, n)
		}
		client.Close()
		server.Close()
	})
}

// A frame for which there is no room is checked all the same: a damaged one poisons, since nobody knows whose it is.
func TestDamagedBeyondTheBudget(t *testing.T) {
	c, p := acceptRaw(t, tcpPair, Config{Share: NewBudget(0, 0).NewShare(), PingEvery: -1,
		Handler: HandlerFunc(holdUntilCancelled)})
	large := make([]byte, 128<<10)
	p.write(requestOf(1), nil, large)
	if f, e := p.readError(); f.ID != 1 || e.Code != wire.CodeExhausted {
		t.Fatalf("got %s with %+v, want call 1 exhausted", f.Header, e)
	}
	h := requestOf(2)
	damaged := wire.AppendFrame(nil, &h, nil, large)
	damaged[len(damaged)/2] ^= 1
	p.writeBytes(damaged)
	p.hungUp()
	<-c.Done()
	if !strings.Contains(c.Err().Error(), "CRC") {
		t.Errorf("ended with %v, want a CRC that is wrong", c.Err())
	}
}

// What a peer offers to take is believed up to a point: it is this side's memory.
func TestPeersWindowIsBounded(t *testing.T) {
	near, far := tcpPair(t)
	huge := Config{WindowBytes: math.MaxUint32, SessionWindowBytes: math.MaxUint32}
	_, server := connect(t, near, far, huge, Config{Handler: HandlerFunc(echo)})
	if h := server.Peer(); h.WindowBytes != maxPeerWindowBytes || h.SessionWindowBytes != maxPeerSessionBytes {
		t.Errorf("windows of %d and %d are believed", h.WindowBytes, h.SessionWindowBytes)
	}
}
