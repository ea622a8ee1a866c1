package transport

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/wire"
)

// What is denied before any call. The values are labels of a metric, beside the names of the calls.
const (
	deniedHello = "hello" // a connection in a node's name without its certificate
	deniedRaft  = "raft"  // a raft stream of that kind
)

// Denials counts what was refused because its caller may not do it, or spoke in the name of another. Its methods may
// be called from any goroutine.
type Denials struct {
	now    func() time.Time
	logger *slog.Logger
	counts map[string]*atomic.Uint64 // by call; the keys never change

	mu     sync.Mutex
	said   time.Time // Guarded by mu. When the last line was logged.
	unsaid int       // Guarded by mu. What was not logged since.
}

func newDenials(calls []wire.OpType, now func() time.Time, logger *slog.Logger) *Denials {
	d := &Denials{now: now, logger: logger, counts: map[string]*atomic.Uint64{deniedHello: {}, deniedRaft: {}}}
	for _, op := range calls {
		d.counts[op.String()] = new(atomic.Uint64)
	}
	return d
}

// deniedEvery is the least between two lines of the log about it.
const deniedEvery = 10 * time.Second

// Note counts err if it says that something was denied, and logs it, one line in deniedEvery at most: whoever is
// denied may go on asking.
func (d *Denials) Note(call, who string, err error) {
	count := d.counts[call]
	if count == nil || wire.CodeOf(err) != wire.CodeDenied {
		return
	}
	count.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if now.Sub(d.said) < deniedEvery {
		d.unsaid++
		return
	}
	d.logger.Warn("denied", "call", call, "who", who, "error", err, "others", d.unsaid)
	d.said, d.unsaid = now, 0
}

// Counts are the denials since the start, by call; "hello" and "raft" are connections and raft streams.
func (d *Denials) Counts() map[string]uint64 {
	counts := make(map[string]uint64, len(d.counts))
	for call, n := range d.counts {
		counts[call] = n.Load()
	}
	return counts
}
