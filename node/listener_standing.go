package node

import (
	"container/list"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"
)

// What a machine has to wait for whose connections end for what it did. Closing a connection as soon as it is
// accepted costs next to nothing; greeting it, serving what it asks and ending that again is what others
// would have to wait for. Nobody is shut out altogether: an honest peer may be behind the same address.
const (
	// offencesForFree lead to nothing: a bad cable, an old version, a certificate that has just run out.
	offencesForFree = 3
	// offenceForgotten is how long it takes to forget one.
	offenceForgotten = 5 * time.Second
	// With one more than are free, one new connection is taken each firstWait; the wait doubles with each
	// further offence, mostDoublings times at most: to two seconds.
	firstWait     = 250 * time.Millisecond
	mostDoublings = 3
	// waitForAll is the least between two connections from all addresses that have to wait, however many
	// there are.
	waitForAll = 30 * time.Millisecond
	// maxStandings bounds the addresses that something is known about. The one whose last offence is
	// longest ago is forgotten first.
	maxStandings = 4096
	// sayEvery is the least between two lines of the log about it.
	sayEvery = 10 * time.Second
)

// offence is why a connection ended, when that was its peer's doing. The values are labels of a metric.
type offence string

const (
	offenceSilent    offence = "silent"    // did not say in time who it is
	offencePreamble  offence = "preamble"  // began with what nobody speaks here
	offenceHandshake offence = "handshake" // of TLS
	offenceFrame     offence = "frame"     // malformed, or beyond a limit
	offenceMismatch  offence = "mismatch"
)

// standing is what is known of one address.
type standing struct {
	addr     string
	offences int       // not forgotten yet. Invariant: 0 < offences <= offencesForFree+1+mostDoublings
	since    time.Time // of the last offence, or since one was forgotten
	next     time.Time // when one more connection is taken, if it has to wait
	place    *list.Element
}

func (s *standing) waits() bool { return s.offences > offencesForFree }

func (s *standing) wait() time.Duration { return firstWait << (s.offences - offencesForFree - 1) }

// forget forgets the offences that are long enough ago.
func (s *standing) forget(now time.Time) {
	if n := int(now.Sub(s.since) / offenceForgotten); n > 0 {
		s.offences = max(s.offences-n, 0)
		s.since = s.since.Add(time.Duration(n) * offenceForgotten)
	}
}

// standings are the addresses that hostile connections came from. Methods may be called from any goroutine.
type standings struct {
	now    func() time.Time
	logger *slog.Logger

	mu     sync.Mutex
	of     map[string]*standing // Guarded by mu.
	order  list.List            // Guarded by mu. Of *standing, by their last offence.
	next   time.Time            // Guarded by mu. When one more connection is taken of all that have to wait.
	said   time.Time            // Guarded by mu. When the log last told.
	unsaid int                  // Guarded by mu. What it did not tell since.
	counts standingCounts       // Guarded by mu.
}

// standingCounts are for the metrics.
type standingCounts struct {
	offences   map[offence]uint64
	turnedAway uint64
	waiting    int // addresses
}

func newStandings() *standings {
	return &standings{
		now: time.Now, logger: slog.New(slog.DiscardHandler),
		of: map[string]*standing{}, counts: standingCounts{offences: map[offence]uint64{}},
	}
}

// admit tells whether a new connection from an address is to be taken now.
func (s *standings) admit(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.of[addr]
	if st == nil {
		return true
	}
	now := s.now()
	if st.forget(now); !st.waits() {
		return true
	}
	if now.Before(st.next) || now.Before(s.next) {
		s.counts.turnedAway++
		return false
	}
	st.next, s.next = now.Add(st.wait()), now.Add(waitForAll)
	return true
}

// offended notes that a connection from an address has ended for what its peer did.
func (s *standings) offended(addr string, why offence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.offences[why]++
	now := s.now()
	st := s.of[addr]
	if st == nil {
		s.makeRoomLocked(now)
		st = &standing{addr: addr}
		s.of[addr], st.place = st, s.order.PushBack(st)
	}
	st.forget(now)
	waited := st.waits()
	st.offences = min(st.offences+1, offencesForFree+1+mostDoublings)
	st.since = now
	s.order.MoveToBack(st.place)
	if !st.waits() {
		return
	}
	st.next = now.Add(st.wait())
	if !waited {
		s.sayLocked(now, st, why)
	}
}

// makeRoomLocked drops the addresses that nothing is known of any more, and one more if there are too many.
func (s *standings) makeRoomLocked(now time.Time) {
	for e := s.order.Front(); e != nil; e = s.order.Front() {
		st := e.Value.(*standing) //nolint:forcetypeassert // there is nothing else in it
		if st.forget(now); st.offences > 0 && len(s.of) < maxStandings {
			return
		}
		s.order.Remove(e)
		delete(s.of, st.addr)
	}
}

func (s *standings) sayLocked(now time.Time, st *standing, why offence) {
	if now.Sub(s.said) < sayEvery {
		s.unsaid++
		return
	}
	s.logger.Warn("too many connections of this address ended for what it did; its next ones have to wait", "address", st.addr,
		"reason", string(why), "wait", st.wait(), "other_addresses", s.unsaid)
	s.said, s.unsaid = now, 0
}

// tally is what happened since the start, and how many addresses have to wait.
func (s *standings) tally() standingCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := standingCounts{offences: maps.Clone(s.counts.offences), turnedAway: s.counts.turnedAway}
	now := s.now()
	for _, st := range s.of {
		if st.forget(now); st.waits() {
			counts.waiting++
		}
	}
	return counts
}

// ipv6Network is what one machine, or one household, has of the address space of IPv6.
const ipv6Network = 64

// machine is what connections of one machine have in common: the IP address, of IPv6 the network.
func machine(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap, err = tcp.AddrPort(), nil
	}
	if err != nil {
		return a.String()
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(ipv6Network)
	if err != nil {
		return ip.String()
	}
	return prefix.String()
}
