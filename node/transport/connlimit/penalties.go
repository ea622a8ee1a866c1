package connlimit

import (
	"container/list"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// What a machine has to wait for whose connections end for what it did. Closing a connection as soon as it is
// accepted costs next to nothing; greeting it, serving what it asks and ending that again is what others
// would have to wait for. Nobody is shut out altogether: an honest peer may be behind the same address.
const (
	// FreeOffences lead to nothing: a bad cable, an old version, a certificate that has just run out.
	FreeOffences = 3
	// offenceForgotten is how long it takes to forget one.
	offenceForgotten = 5 * time.Second
	// With one more than are free, one new connection is taken each FirstWait; the wait doubles with each
	// further offence, mostDoublings times at most: to two seconds.
	FirstWait     = 250 * time.Millisecond
	mostDoublings = 3
	// waitForAll is the least between two connections from all addresses that have to wait, however many
	// there are.
	waitForAll = 30 * time.Millisecond
	// maxPenalized bounds the addresses that something is known about. The one whose last offence is
	// longest ago is forgotten first.
	maxPenalized = 4096
	// sayEvery is the least between two lines of the log about it.
	sayEvery = 10 * time.Second
)

// Offence is why a connection ended, when that was its peer's doing. The values are labels of a metric.
type Offence string

const (
	OffenceSilent    Offence = "silent"    // did not say in time who it is
	OffencePreamble  Offence = "preamble"  // began with what nobody speaks here
	OffenceHandshake Offence = "handshake" // of TLS
	OffenceFrame     Offence = "frame"     // malformed, or beyond a limit
	OffenceMismatch  Offence = "mismatch"  // a frame of no call that there is
)

// Offences are all that there are.
func Offences() []Offence {
	return []Offence{OffenceSilent, OffencePreamble, OffenceHandshake, OffenceFrame, OffenceMismatch}
}

// penalty is what is known of one address.
type penalty struct {
	addr     string
	offences int       // not forgotten yet. Invariant: 0 < offences <= FreeOffences+1+mostDoublings
	since    time.Time // of the last offence, or since one was forgotten
	next     time.Time // when one more connection is taken, if it has to wait
	place    *list.Element
}

func (s *penalty) waits() bool { return s.offences > FreeOffences }

func (s *penalty) wait() time.Duration { return FirstWait << (s.offences - FreeOffences - 1) }

// forget forgets the offences that are long enough ago.
func (s *penalty) forget(now time.Time) {
	if n := int(now.Sub(s.since) / offenceForgotten); n > 0 {
		s.offences = max(s.offences-n, 0)
		s.since = s.since.Add(time.Duration(n) * offenceForgotten)
	}
}

// penalties are the addresses that hostile connections came from. Methods may be called from any goroutine.
type penalties struct {
	now    func() time.Time
	logger *slog.Logger

	mu     sync.Mutex
	of     map[string]*penalty // Guarded by mu.
	order  list.List           // Guarded by mu. Of *penalty, by their last offence.
	next   time.Time           // Guarded by mu. When one more connection is taken of all that have to wait.
	said   time.Time           // Guarded by mu. When the last line was logged.
	unsaid int                 // Guarded by mu. What was not logged since.
	counts PenaltyCounts       // Guarded by mu.
}

// PenaltyCounts are for the metrics.
type PenaltyCounts struct {
	Offences   map[Offence]uint64
	TurnedAway uint64 // connections
	Waiting    int    // addresses
}

func newPenalties(now func() time.Time, logger *slog.Logger) *penalties {
	if now == nil {
		now = time.Now
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &penalties{
		now: now, logger: logger,
		of: map[string]*penalty{}, counts: PenaltyCounts{Offences: map[Offence]uint64{}},
	}
}

// admit reports whether a new connection from an address is to be taken now.
func (s *penalties) admit(addr string) bool {
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
		s.counts.TurnedAway++
		return false
	}
	st.next, s.next = now.Add(st.wait()), now.Add(waitForAll)
	return true
}

// offended notes that a connection from an address has ended for what its peer did.
func (s *penalties) offended(addr string, why Offence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Offences[why]++
	now := s.now()
	st := s.of[addr]
	if st == nil {
		s.makeRoomLocked(now)
		st = &penalty{addr: addr}
		s.of[addr], st.place = st, s.order.PushBack(st)
	}
	st.forget(now)
	waited := st.waits()
	st.offences = min(st.offences+1, FreeOffences+1+mostDoublings)
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
func (s *penalties) makeRoomLocked(now time.Time) {
	for e := s.order.Front(); e != nil; e = s.order.Front() {
		st := e.Value.(*penalty) //nolint:forcetypeassert // there is nothing else in it
		if st.forget(now); st.offences > 0 && len(s.of) < maxPenalized {
			return
		}
		s.order.Remove(e)
		delete(s.of, st.addr)
	}
}

func (s *penalties) sayLocked(now time.Time, st *penalty, why Offence) {
	if now.Sub(s.said) < sayEvery {
		s.unsaid++
		return
	}
	s.logger.Warn("too many connections of this address ended for what it did; its next ones have to wait",
		"address", st.addr, "reason", string(why), "wait", st.wait(), "other_addresses", s.unsaid)
	s.said, s.unsaid = now, 0
}

// tally is what happened since the start, and how many addresses have to wait.
func (s *penalties) tally() PenaltyCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := PenaltyCounts{Offences: maps.Clone(s.counts.Offences), TurnedAway: s.counts.TurnedAway}
	now := s.now()
	for _, st := range s.of {
		if st.forget(now); st.waits() {
			counts.Waiting++
		}
	}
	return counts
}
