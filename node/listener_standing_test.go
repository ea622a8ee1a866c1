package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

// stillClock is a clock that only the test moves.
type stillClock struct{ at atomic.Int64 }

func (c *stillClock) now() time.Time       { return time.Unix(1e9, c.at.Load()) }
func (c *stillClock) move(d time.Duration) { c.at.Add(int64(d)) }

// useStillClock gives standings a clock of their own.
func (s *standings) useStillClock() *stillClock {
	clock := new(stillClock)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = clock.now
	return clock
}

func newTestStandings() (*standings, *stillClock) {
	s := newStandings()
	return s, s.useStillClock()
}

func (s *standings) offendTimes(addr string, n int) {
	for range n {
		s.offended(addr, offenceFrame)
	}
}

// takenOf is how many of the connections from an address are taken that come every step, for so long.
func takenOf(s *standings, clock *stillClock, addr string, step, span time.Duration) (n int) {
	for until := clock.now().Add(span); clock.now().Before(until); clock.move(step) {
		if s.admit(addr) {
			n++
		}
	}
	return n
}

// A few offences lead to nothing; further ones make the next connections wait, longer each time, but never
// longer than a bound; and others do not wait.
func TestOffendersWait(t *testing.T) {
	s, clock := newTestStandings()
	const bad, good = "10.0.0.1", "10.0.0.2"
	s.offendTimes(bad, offencesForFree)
	if n := takenOf(s, clock, bad, time.Millisecond, 100*time.Millisecond); n != 100 {
		t.Fatalf("%d of 100 taken after %d offences, want all", n, offencesForFree)
	}
	longest := firstWait << mostDoublings
	for i, wait := range []time.Duration{firstWait, 2 * firstWait, 4 * firstWait, longest, longest, longest} {
		s.offended(bad, offenceFrame)
		if s.admit(bad) {
			t.Fatalf("offence %d: taken at once", offencesForFree+1+i)
		}
		if !s.admit(good) {
			t.Fatal("another address has to wait")
		}
		clock.move(wait - 1)
		if s.admit(bad) {
			t.Fatalf("offence %d: taken sooner than after %s", offencesForFree+1+i, wait)
		}
		clock.move(1)
		if !s.admit(bad) || s.admit(bad) {
			t.Fatalf("offence %d: want one taken after %s", offencesForFree+1+i, wait)
		}
	}
	if c := s.tally(); c.offences[offenceFrame] != offencesForFree+6 || c.waiting != 1 || c.turnedAway != 18 {
		t.Errorf("counted %+v", c)
	}
}

// Who is behind the address of somebody hostile gets in within the longest wait, and as before some time after
// that one has given up.
func TestWaitIsBounded(t *testing.T) {
	s, clock := newTestStandings()
	const addr = "10.0.0.1"
	s.offendTimes(addr, 1000)
	longest := firstWait << mostDoublings
	if n := takenOf(s, clock, addr, 10*time.Millisecond, longest+10*time.Millisecond); n != 1 {
		t.Fatalf("%d taken within %s, want 1", n, longest)
	}
	clock.move((mostDoublings + 1) * offenceForgotten)
	if n := takenOf(s, clock, addr, time.Millisecond, 100*time.Millisecond); n != 100 {
		t.Errorf("%d of 100 taken once enough is forgotten, want all", n)
	}
	if c := s.tally(); c.waiting != 0 {
		t.Errorf("%d addresses wait, want none", c.waiting)
	}
}

// However many addresses hostile connections come from, those that have to wait share one lane.
func TestOffendersWaitForEachOther(t *testing.T) {
	s, clock := newTestStandings()
	const addrs = 500
	for i := range addrs {
		s.offendTimes(fmt.Sprint(i), offencesForFree+1)
	}
	clock.move(firstWait)
	taken := 0
	for until := clock.now().Add(time.Second); clock.now().Before(until); clock.move(time.Millisecond) {
		for i := range addrs {
			if s.admit(fmt.Sprint(i)) {
				taken++
			}
		}
	}
	if want := int(time.Second/waitForAll) + 1; taken > want || taken < want-2 {
		t.Errorf("%d taken in a second, want %d", taken, want)
	}
}

// What is known of addresses takes no more than so much room, and goes when there is nothing left to know.
func TestStandingsAreBounded(t *testing.T) {
	s, clock := newTestStandings()
	for i := range 2 * maxStandings {
		s.offended(fmt.Sprint(i), offenceSilent)
	}
	if len(s.of) != maxStandings || s.order.Len() != maxStandings {
		t.Fatalf("%d addresses known, %d in order, want %d", len(s.of), s.order.Len(), maxStandings)
	}
	if s.of[fmt.Sprint(maxStandings-1)] != nil || s.of[fmt.Sprint(maxStandings)] == nil {
		t.Error("want the oldest forgotten first")
	}
	clock.move(offenceForgotten)
	s.offended("x", offenceSilent)
	if len(s.of) != 1 || s.order.Len() != 1 {
		t.Errorf("%d addresses known after all else is forgotten, want 1", len(s.of))
	}
}

// Many clients of one machine that come at the same moment are not held against it; who keeps pushing out who
// came before is.
func TestCrowding(t *testing.T) {
	c := newCensus()
	c.standings.useStillClock()
	come := func(n int) {
		for i := range n {
			c.add(&fakeConn{from: fmt.Sprintf("10.0.0.1:%d", i)})
		}
	}
	offences := func() uint64 { return c.standings.tally().offences[offenceSilent] }
	come(maxHalfOpenPerAddr + maxCrowdedOut - 1)
	if n := offences(); n != 0 {
		t.Fatalf("%d offences with %d crowded out, want none", n, maxCrowdedOut-1)
	}
	come(1)
	if n := offences(); n != 1 {
		t.Fatalf("%d offences with %d crowded out, want 1", n, maxCrowdedOut)
	}
	come(10 * maxCrowdedOut)
	if n := offences(); n != offencesForFree+1 {
		t.Errorf("%d offences, want %d and then none, as no connection is taken", n, offencesForFree+1)
	}
	if all, half := c.count(); all != maxHalfOpenPerAddr || half != all {
		t.Errorf("%d connections, %d half open, want %d", all, half, maxHalfOpenPerAddr)
	}
}

// The log names the address and the reason, and cannot be flooded.
func TestOffendersAreLogged(t *testing.T) {
	s, clock := newTestStandings()
	var out bytes.Buffer
	s.logger = slog.New(slog.NewTextHandler(&out, nil))
	for i := range 100 {
		s.offendTimes(fmt.Sprintf("10.0.0.%d", i), offencesForFree+3)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "address=10.0.0.0 reason=frame wait=250ms") {
		t.Fatalf("logged %q, want one line about the first", got)
	}
	clock.move(sayEvery)
	s.offendTimes("10.1.0.0", offencesForFree+3)
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "address=10.1.0.0 reason=frame wait=250ms other_addresses=99") {
		t.Errorf("logged %q, want a second line that counts those in between", got)
	}
}

// The connections of a household of IPv6 are those of one machine, and so are those of an IPv4 address however written.
func TestMachine(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 7, Zone: ""} }
	for want, addrs := range map[string][]net.Addr{
		"10.0.0.1":       {tcp("10.0.0.1"), tcp("::ffff:10.0.0.1"), fakeAddr("10.0.0.1:80"), fakeAddr("[::ffff:10.0.0.1]:80")},
		"2001:db8::/64":  {tcp("2001:db8::1"), tcp("2001:db8::ffff:1:2:3"), fakeAddr("[2001:db8::2]:1")},
		"fe80::/64":      {&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}},
		"somewhere else": {fakeAddr("somewhere else")},
	} {
		for _, a := range addrs {
			if got := machine(a); got != want {
				t.Errorf("%s is of %q, want %q", a, got, want)
			}
		}
	}
}

// What a peer may not do is held against its address, and what may happen to anybody is not.
func TestOffences(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secure bool
		send   []byte
		hangUp bool // and no more
		want   offence
	}{
		"nothing":               {send: nil, want: offenceSilent},
		"a look at the port":    {send: nil, hangUp: true},
		"unknown first byte":    {send: []byte{'G'}, want: offencePreamble},
		"plaintext, not TLS":    {secure: true, send: []byte{wire.PreambleFrames}, want: offencePreamble},
		"half a client's hello": {secure: true, send: []byte{wire.PreambleTLS, 3, 1, 2, 0, 1}, want: offenceSilent},
		"gone in the handshake": {secure: true, send: []byte{wire.PreambleTLS, 3, 1, 2, 0, 1}, hangUp: true, want: offenceHandshake},
		"not TLS at all":        {secure: true, send: []byte{wire.PreambleTLS, 3, 1, 0xff, 0xff, 1}, want: offenceHandshake},
		"half a raft hello":     {send: []byte{wire.PreambleRaft, 200, 'c'}, want: offenceSilent},
	} {
		t.Run(name, func(t *testing.T) {
			l := loneListener(t, c.secure)
			nc := knock(t, l, c.send)
			if c.hangUp {
				if err := nc.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = io.Copy(io.Discard, nc) // until the listener has closed it
			l.Close()
			l.wait()
			got := l.census.standings.tally().offences
			if c.want == "" && len(got) > 0 || c.want != "" && got[c.want] != 1 {
				t.Errorf("offences %v, want %q", got, c.want)
			}
		})
	}
}

// What the frames' side finds is held against the address too, but not what is done with a node's certificate.
func TestOffencesOfFrames(t *testing.T) {
	malformed, mismatched := endedBy(t, []byte{0xff, 0xff, 0xff, 0xff}), endedBy(t, plainFrame(wire.Header{Kind: wire.KindPong, ID: 1}, nil))
	for _, c := range []struct {
		err  error
		want offence
	}{
		{errors.New("closed by the peer"), ""},
		{mux.ErrClosed, ""},
		{wire.Errorf(0, wire.CodeWrongCell, "another cell's"), ""},
		{wire.Errorf(0, wire.CodeDeadline, "no hello"), offenceSilent},
		{malformed, offenceFrame},
		{mismatched, offenceMismatch},
	} {
		for _, who := range []caller{{}, {secure: true, Identity: pki.Identity{Role: pki.RoleAdmin}}, {secure: true, Identity: pki.Identity{Role: pki.RoleNode}}} {
			got, want := offence(""), c.want
			if who.Role == pki.RoleNode {
				want = ""
			}
			a := arrival{who: who, offended: func(why offence) { got = why }}
			if a.ended(c.err); got != want {
				t.Errorf("%v of %v: offence %q, want %q", c.err, who, got, want)
			}
		}
	}
}

// endedBy is why a connection ends on which the peer sends b after its hello.
func endedBy(t *testing.T, b []byte) error {
	t.Helper()
	theirs, ours := net.Pipe()
	defer theirs.Close()
	go func() {
		h := &hostile{nc: theirs}
		if h.write(hostileHello()[1:]) == nil { // the listener has taken the preamble
			go h.drain()
			_ = h.write(b) // the other side may have hung up before it was all written
		}
	}()
	conn, err := mux.Server(t.Context(), ours, mux.Config{})
	if err != nil {
		t.Fatal(err)
	}
	<-conn.Done()
	conn.Close()
	return conn.Err()
}

// Whoever sends malformed frames again and again is turned away, and so is an honest client behind the same
// address; but that one gets in as soon as the wait is over, while the other goes on.
func TestHonestBesideHostile(t *testing.T) {
	c := newCell(t, 1, 0)
	n := c.nodes["n1"]
	clock := n.listener.census.standings.useStillClock()
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, 9)}}
		return d.DialContext(ctx, "tcp", addr)
	}
	offend := func() {
		nc, err := dial(t.Context(), n.Addr())
		if err != nil {
			t.Skipf("this system has one loopback address: %v", err)
		}
		defer nc.Close()
		h := &hostile{nc: nc}
		if h.greet() == nil && h.write([]byte{0xff, 0xff, 0xff, 0xff}) == nil {
			h.drain()
		}
	}
	counts := func() standingCounts { return n.listener.census.standings.tally() }
	for i := range offencesForFree + 1 {
		offend()
		c.untilTrue("the offence is noted", func() bool { return counts().offences[offenceFrame] == uint64(i+1) })
	}
	offend()
	if got := counts(); got.offences[offenceFrame] != offencesForFree+1 || got.turnedAway != 1 || got.waiting != 1 {
		t.Fatalf("counted %+v, want the last connection turned away", got)
	}
	honest := func() error {
		cl := client.New(client.Options{Addrs: []string{n.Addr()}, Dial: dial, RetryFor: -1})
		defer cl.Close()
		_, err := cl.Status(t.Context())
		return err
	}
	if err := honest(); wire.CodeOf(err) == 0 {
		t.Fatalf("beside a hostile one: %v, want it turned away", err)
	}
	if _, err := c.client.Status(t.Context()); err != nil {
		t.Errorf("from another address: %v", err)
	}
	clock.move(firstWait)
	if err := honest(); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}
