package mux

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/wire"
)

// Budget bounds the memory that the peers of many connections make this side hold, all together:
// requests with their handlers, chunks that no handler has taken yet, and answers that the peer has not
// read yet. Its methods may be called from any goroutine.
//
// Each connection has a reserve of its own. Beyond it connections take from a pool, those of one machine as
// one Share, which never has more of the pool than it leaves to all others (the dynamic threshold of
// Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998). So one
// machine takes half of it at most, and two three quarters, with however many connections.
//
// Nobody waits for memory, since who waits holds memory that others wait for. A request that finds none
// is refused, a call whose chunk or answer finds none is ended, each with the error exhausted.
type Budget struct {
	poolBytes, reserveBytes int64

	taken   atomic.Int64 // of the pool. Invariant: 0 <= taken <= poolBytes, but for a moment within take
	refused atomic.Uint64
}

// NewBudget makes a budget of poolBytes that connections share, and reserveBytes that each has besides.
func NewBudget(poolBytes, reserveBytes int) *Budget {
	return &Budget{poolBytes: int64(poolBytes), reserveBytes: int64(reserveBytes)}
}

// Share is what the connections of one machine have of a Budget.
type Share struct {
	budget *Budget
	taken  atomic.Int64 // of the pool
}

// NewShare makes a share that has nothing yet.
func (b *Budget) NewShare() *Share { return &Share{budget: b} }

// take takes n bytes of the pool for one of the share's connections.
func (s *Share) take(n int64) bool {
	all, own := s.budget.taken.Add(n), s.taken.Add(n)
	if own <= s.budget.poolBytes-all {
		return true
	}
	s.give(n)
	s.budget.refused.Add(1)
	return false
}

func (s *Share) give(n int64) {
	s.taken.Add(-n)
	s.budget.taken.Add(-n)
}

// Taken is how many bytes connections hold of the pool, and Refused how often one found too little.
func (b *Budget) Taken() int      { return int(b.taken.Load()) }
func (b *Budget) Refused() uint64 { return b.refused.Load() }

const (
	// budgetLumpBytes is what an account takes from the pool at once, so that most calls do not touch
	// what all connections share.
	budgetLumpBytes = 64 << 10
	// callBytes is about what a call holds besides its bytes: a handler's stack, and this side's books.
	// The frame that ends the call may have answerBytes of it once it waits to be written.
	callBytes   = 8 << 10
	answerBytes = 4 << 10
)

// account is what one connection has of a Share. Without one it takes as much as it likes: that is for
// the dialing side, whose peers hold no more than it asks for.
type account struct {
	share *Share

	mu    sync.Mutex
	held  int64 // Guarded by mu.
	taken int64 // Guarded by mu. Of the pool. Invariant: held <= reserve + taken, and taken is no lump more
}

// take has n bytes more, or says that there is no room for them.
func (a *account) take(n int) bool {
	if a.share == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	more := a.due(a.held+int64(n)) - a.taken
	if more > 0 {
		if !a.share.take(more) {
			return false
		}
		a.taken += more
	}
	a.held += int64(n)
	return true
}

// give gives n bytes back.
func (a *account) give(n int) {
	if a.share == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held -= int64(n)
	if less := a.taken - a.due(a.held); less > 0 {
		a.taken -= less
		a.share.give(less)
	}
}

// due is what an account that holds so much has of the pool: whole lumps.
func (a *account) due(held int64) int64 {
	lumps := (max(held-a.share.budget.reserveBytes, 0) + budgetLumpBytes - 1) / budgetLumpBytes
	return lumps * budgetLumpBytes
}

// charge takes what b holds, and extra bytes, until b is freed.
func (a *account) charge(b *buffer, extra int) bool {
	return a.chargeMore(b, cap(b.b)+extra)
}

// chargeMore takes n bytes for b besides what it has been charged.
func (a *account) chargeMore(b *buffer, n int) bool {
	if a.share == nil {
		return true
	}
	if !a.take(n) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b.account, b.charged = a, b.charged+n
	return true
}

// move makes n bytes, if there are as many, what another buffer is charged for.
func (a *account) move(from, to *buffer, n int) int {
	if a.share == nil {
		return n
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n = min(n, from.charged)
	from.charged -= n
	to.account, to.charged = a, to.charged+n
	return n
}

// retryAfter is in how long whoever found no room is to ask again. A MiB that was put is gone from memory in about a
// tenth of that, so some have ended by then.
const retryAfter = 250 * time.Millisecond

// exhausted is the error of what finds no room.
func exhausted(op wire.OpType, outcome wire.Outcome, what string) *wire.Error {
	return &wire.Error{Op: op, Code: wire.CodeExhausted, Outcome: outcome, RetryAfter: retryAfter,
		Detail: "this node holds too much for its clients to hold " + what + " too; try again in a moment"}
}
