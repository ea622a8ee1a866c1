package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/datanode/datanode/wire/mux"
)

// inbound are the connections that this node has accepted.
type inbound struct {
	mu     sync.Mutex
	closed bool                 // Guarded by mu.
	conns  map[*mux.Conn]caller // Guarded by mu.
}

func newInbound() *inbound { return &inbound{conns: map[*mux.Conn]caller{}} }

func (in *inbound) add(c *mux.Conn, who caller) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.conns[c] = who
	if in.closed {
		go c.Close()
	}
}

func (in *inbound) remove(c *mux.Conn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.conns, c)
}

func (in *inbound) all() []*mux.Conn { return slices.Collect(maps.Keys(in.callers())) }

func (in *inbound) callers() map[*mux.Conn]caller {
	in.mu.Lock()
	defer in.mu.Unlock()
	return maps.Clone(in.conns)
}

// drain lets the calls of every connection end.
func (in *inbound) drain(ctx context.Context) error {
	conns := in.all()
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = c.Drain(ctx)
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (in *inbound) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range in.all() {
		wg.Add(1)
		go func() { // at once: each waits for its handlers
			defer wg.Done()
			c.Close()
		}()
	}
	wg.Wait()
}
