package connlimit

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// stillClock is a clock that only the test moves.
type stillClock struct{ at atomic.Int64 }

func (c *stillClock) now() time.Time       { return time.Unix(1e9, c.at.Load()) }
func (c *stillClock) move(d time.Duration) { c.at.Add(int64(d)) }

// useStillClock gives penalties a clock of their own.
func (s *penalties) useStillClock() *stillClock {
	clock := new(stillClock)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = clock.now
	return clock
}

func newTestPenalties() (*penalties, *stillClock) {
	s := newPenalties(nil, nil)
	return s, s.useStillClock()
}

func (s *penalties) offendTimes(addr string, n int) {
	for range n {
		s.offended(addr, OffenceFrame)
	}
}

// takenOf is how many of the connections from an address are taken that come every step, for so long.
func takenOf(s *penalties, clock *stillClock, addr string, step, span time.Duration) (n int) {
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
	s, clock := newTestPenalties()
	const bad, good = "10.0.0.1", "10.0.0.2"
	s.offendTimes(bad, FreeOffences)
	if n := takenOf(s, clock, bad, time.Millisecond, 100*time.Millisecond); n != 100 {
		t.Fatalf("%d of 100 taken after %d offences, want all", n, FreeOffences)
	}
	longest := FirstWait << mostDoublings
	for i, wait := range []time.Duration{FirstWait, 2 * FirstWait, 4 * FirstWait, longest, longest, longest} {
		s.offended(bad, OffenceFrame)
		if s.admit(bad) {
			t.Fatalf("offence %d: taken at once", FreeOffences+1+i)
		}
		if !s.admit(good) {
			t.Fatal("another address has to wait")
		}
		clock.move(wait - 1)
		if s.admit(bad) {
			t.Fatalf("offence %d: taken sooner than after %s", FreeOffences+1+i, wait)
		}
		clock.move(1)
		if !s.admit(bad) || s.admit(bad) {
			t.Fatalf("offence %d: want one taken after %s", FreeOffences+1+i, wait)
		}
	}
	if c := s.tally(); c.Offences[OffenceFrame] != FreeOffences+6 || c.Waiting != 1 || c.TurnedAway != 18 {
		t.Errorf("counted %+v", c)
	}
}

// Who is behind the address of somebody hostile gets in within the longest wait, and as before some time after
// that one has given up.
func TestWaitIsBounded(t *testing.T) {
	s, clock := newTestPenalties()
	const addr = "10.0.0.1"
	s.offendTimes(addr, 1000)
	longest := FirstWait << mostDoublings
	if n := takenOf(s, clock, addr, 10*time.Millisecond, longest+10*time.Millisecond); n != 1 {
		t.Fatalf("%d taken within %s, want 1", n, longest)
	}
	clock.move((mostDoublings + 1) * offenceForgotten)
	if n := takenOf(s, clock, addr, time.Millisecond, 100*time.Millisecond); n != 100 {
		t.Errorf("%d of 100 taken once enough is forgotten, want all", n)
	}
	if c := s.tally(); c.Waiting != 0 {
		t.Errorf("%d addresses wait, want none", c.Waiting)
	}
}

// However many addresses hostile connections come from, those that have to wait share one lane.
func TestOffendersWaitForEachOther(t *testing.T) {
	s, clock := newTestPenalties()
	const addrs = 500
	for i := range addrs {
		s.offendTimes(fmt.Sprint(i), FreeOffences+1)
	}
	clock.move(FirstWait)
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
func TestPenaltiesAreBounded(t *testing.T) {
	s, clock := newTestPenalties()
	for i := range 2 * maxPenalized {
		s.offended(fmt.Sprint(i), OffenceSilent)
	}
	if len(s.of) != maxPenalized || s.order.Len() != maxPenalized {
		t.Fatalf("%d addresses known, %d in order, want %d", len(s.of), s.order.Len(), maxPenalized)
	}
	if s.of[fmt.Sprint(maxPenalized-1)] != nil || s.of[fmt.Sprint(maxPenalized)] == nil {
		t.Error("want the oldest forgotten first")
	}
	clock.move(offenceForgotten)
	s.offended("x", OffenceSilent)
	if len(s.of) != 1 || s.order.Len() != 1 {
		t.Errorf("%d addresses known after all else is forgotten, want 1", len(s.of))
	}
}

// Many clients of one machine that come at the same moment are no offence; who keeps pushing out who
// came before is.
func TestCrowding(t *testing.T) {
	c := New(Options{})
	c.penalties.useStillClock()
	come := func(n int) {
		for i := range n {
			c.Add(&fakeConn{from: fmt.Sprintf("10.0.0.1:%d", i)})
		}
	}
	offences := func() uint64 { return c.penalties.tally().Offences[OffenceSilent] }
	come(MaxHalfOpenPerAddr + maxCrowdedOut - 1)
	if n := offences(); n != 0 {
		t.Fatalf("%d offences with %d crowded out, want none", n, maxCrowdedOut-1)
	}
	come(1)
	if n := offences(); n != 1 {
		t.Fatalf("%d offences with %d crowded out, want 1", n, maxCrowdedOut)
	}
	come(10 * maxCrowdedOut)
	if n := offences(); n != FreeOffences+1 {
		t.Errorf("%d offences, want %d and then none, as no connection is taken", n, FreeOffences+1)
	}
	if all, half := c.Count(); all != MaxHalfOpenPerAddr || half != all {
		t.Errorf("%d connections, %d half open, want %d", all, half, MaxHalfOpenPerAddr)
	}
}

// The log names the address and the reason, and cannot be flooded.
func TestOffendersAreLogged(t *testing.T) {
	s, clock := newTestPenalties()
	var out bytes.Buffer
	s.logger = slog.New(slog.NewTextHandler(&out, nil))
	for i := range 100 {
		s.offendTimes(fmt.Sprintf("10.0.0.%d", i), FreeOffences+3)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 ||
		!strings.Contains(got, "address=10.0.0.0 reason=frame wait=250ms") {
		t.Fatalf("logged %q, want one line about the first", got)
	}
	clock.move(sayEvery)
	s.offendTimes("10.1.0.0", FreeOffences+3)
	if got := out.String(); strings.Count(got, "\n") != 2 ||
		!strings.Contains(got, "address=10.1.0.0 reason=frame wait=250ms other_addresses=99") {
		t.Errorf("logged %q, want a second line that counts those in between", got)
	}
}

// The connections of a household of IPv6 are those of one machine, and so are those of an IPv4 address however written.
func TestMachine(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 7, Zone: ""} }
	for want, addrs := range map[string][]net.Addr{
		"10.0.0.1": {
			tcp("10.0.0.1"), tcp("::ffff:10.0.0.1"), fakeAddr("10.0.0.1:80"), fakeAddr("[::ffff:10.0.0.1]:80"),
		},
		"2001:db8::/64":  {tcp("2001:db8::1"), tcp("2001:db8::ffff:1:2:3"), fakeAddr("[2001:db8::2]:1")},
		"fe80::/64":      {&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}},
		"somewhere else": {fakeAddr("somewhere else")},
	} {
		for _, a := range addrs {
			if got := Machine(a); got != want {
				t.Errorf("%s is of %q, want %q", a, got, want)
			}
		}
	}
}
