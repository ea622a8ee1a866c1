package node

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

// denials counts what was refused because its caller may not do it, or spoke in the name of another. Its methods may
// be called from any goroutine.
type denials struct {
	now    func() time.Time
	logger *slog.Logger
	counts map[string]*atomic.Uint64 // by call; the keys never change

	mu     sync.Mutex
	said   time.Time // Guarded by mu. When the log last told.
	unsaid int       // Guarded by mu. What it did not tell since.
}

func newDenials(routes map[wire.OpType]route, now func() time.Time, logger *slog.Logger) *denials {
	d := &denials{now: now, logger: logger, counts: map[string]*atomic.Uint64{deniedHello: {}, deniedRaft: {}}}
	for op := range routes {
		d.counts[op.String()] = new(atomic.Uint64)
	}
	return d
}

// note counts err if it says that something was denied, and tells the log, one line in sayEvery at most: whoever is
// denied may go on asking.
func (d *denials) note(call, who string, err error) {
	count := d.counts[call]
	if count == nil || wire.CodeOf(err) != wire.CodeDenied {
		return
	}
	count.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if now.Sub(d.said) < sayEvery {
		d.unsaid++
		return
	}
	d.logger.Warn("denied", "call", call, "who", who, "error", err, "others", d.unsaid)
	d.said, d.unsaid = now, 0
}
