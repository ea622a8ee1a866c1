package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/policies"
)

// MaxModuleBytes is the most that a module can have.
const MaxModuleBytes = maxModuleBytes

// CheckSize refuses a module that has more bytes, so that nobody has to read or send all of it to learn that.
func CheckSize(bytes int) error {
	if bytes > MaxModuleBytes {
		return refuse(TooLarge, "more than %d bytes: build without symbols, e.g. -ldflags='-s -w'", MaxModuleBytes)
	}
	return nil
}

// maxInstances of one module. The leader asks one batch after the other; the rest is for a console
// or a command line that asks at the same time. A Go guest takes 4 MiB of memory for each.
const maxInstances = 4

// Module is a compiled module. It implements policies.Policy.
type Module struct {
	host   *Host
	engine *engine
	layout exportsOf
	config map[string]string // never written to
	info   policies.Info     // set by tryOut, then never written to
	schema json.RawMessage   // as info
	report *Report           // as info: what was measured when it was tried out

	// slots holds a token for each instance that runs, also for those that were given up. Close takes
	// all of them.
	slots   chan struct{}
	stuck   atomic.Int32 // instances that outlived the watchdog and still run
	chatter chatter

	mu       sync.Mutex
	idle     []*instance      // guarded by mu. Invariant: len(idle) + len(slots) <= maxInstances
	closed   bool             // guarded by mu
	counters map[string]int64 // guarded by mu. Invariant: at most maxCounters names
}

var _ policies.Policy = (*Module)(nil)

// exportsOf says which of the optional exports a module has.
type exportsOf struct {
	initialize bool
	init       bool
}

func newModule(h *Host, e *engine, p *prepared, config map[string]string) *Module {
	_, initialize := p.layout.exports[exportInitialize]
	_, init := p.layout.exports[exportInit]
	m := &Module{
		host:     h,
		engine:   e,
		layout:   exportsOf{initialize, init},
		config:   maps.Clone(config),
		info:     policies.Info{Digest: p.digest},
		slots:    make(chan struct{}, maxInstances),
		counters: map[string]int64{},
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.modules[m] = true
	return m
}

// Info is what the module said of itself when it was compiled.
func (m *Module) Info() policies.Info { return m.info }

// ConfigSchema is the JSON schema of the configuration, as the module described it; nil without one.
func (m *Module) ConfigSchema() json.RawMessage { return m.schema }

// Counters is a copy of what the module has counted with counter_add, over all instances.
func (m *Module) Counters() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counters)
}

// Score asks the module about facts, in batches of at most 256, and gives the metered cost of all of
// them. A *CallError says that it did not answer, and nothing in out is to be used then.
func (m *Module) Score(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	return m.score(ctx, m.host.opts.Budget, facts, out)
}

func (m *Module) score(
	ctx context.Context, b policies.Budget, facts []policies.Facts, out []policies.Score,
) (uint64, error) {
	if len(facts) != len(out) {
		return 0, fmt.Errorf("plugins: score: %d facts, but room for %d scores", len(facts), len(out))
	}
	return m.with(ctx, exportScore, b, func(inst *instance) (total uint64, err error) {
		for batch := range slices.Chunk(facts, batchMost) {
			cost, err := inst.askScores(ctx, batch, out[:len(batch)])
			if err != nil {
				return 0, err
			}
			total, out = total+cost, out[len(batch):]
		}
		return total, nil
	})
}

// Conflict asks the module about pairs, as Score does about facts.
func (m *Module) Conflict(ctx context.Context, pairs []policies.Pair, out []policies.Resolution) (uint64, error) {
	return m.conflict(ctx, m.host.opts.Budget, pairs, out)
}

func (m *Module) conflict(
	ctx context.Context, b policies.Budget, pairs []policies.Pair, out []policies.Resolution,
) (uint64, error) {
	if len(pairs) != len(out) {
		return 0, fmt.Errorf("plugins: conflict: %d pairs, but room for %d resolutions", len(pairs), len(out))
	}
	return m.with(ctx, exportConflict, b, func(inst *instance) (total uint64, err error) {
		for batch := range slices.Chunk(pairs, batchMost) {
			cost, err := inst.askResolutions(ctx, batch, out[:len(batch)])
			if err != nil {
				return 0, err
			}
			total, out = total+cost, out[len(batch):]
		}
		return total, nil
	})
}

// with lends an instance to ask, and keeps it for the next call unless ask failed.
func (m *Module) with(
	ctx context.Context, call string, b policies.Budget, ask func(*instance) (uint64, error),
) (uint64, error) {
	inst, err := m.acquire(ctx, call, b)
	if err != nil {
		return 0, err
	}
	cost, err := ask(inst)
	if err != nil || !m.keep(inst) {
		m.retire(inst)
	}
	return cost, err
}

// acquire waits for a free slot and gives an idle instance, or a new one, held to a budget.
func (m *Module) acquire(ctx context.Context, call string, b policies.Budget) (*instance, error) {
	if n := m.stuck.Load(); n > 0 {
		return nil, m.failed(call, TimedOut, fmt.Sprintf("%d earlier calls have outlived the watchdog and still run", n))
	}
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, m.failed(call, Cancelled, context.Cause(ctx).Error())
	}
	m.mu.Lock()
	closed := m.closed
	var inst *instance
	if n := len(m.idle); n > 0 && !closed {
		inst, m.idle = m.idle[n-1], m.idle[:n-1]
	}
	m.mu.Unlock()
	switch {
	case closed:
		<-m.slots
		return nil, m.failed(call, Closed, "the module has been closed")
	case inst != nil && inst.dearest <= b.Start:
		inst.budget = b
		return inst, nil
	case inst != nil: // a node that starts one now could not: what a policy may do must not depend on when it began
		inst.close()
	}
	inst, err := m.start(ctx, m.engine, b)
	if err != nil {
		m.retire(inst)
		return nil, err
	}
	return inst, nil
}

// keep puts an instance back for the next call, if there is room, and frees its slot.
func (m *Module) keep(inst *instance) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.idle) >= maxInstances {
		return false
	}
	m.idle = append(m.idle, inst)
	<-m.slots
	return true
}

// retire throws an instance away and frees its slot: at once, or when the call that was given up is
// back.
func (m *Module) retire(inst *instance) {
	if !inst.givenUp {
		inst.close()
		<-m.slots
		return
	}
	go func() {
		<-inst.lane.ended
		m.stuck.Add(-1)
		inst.close()
		<-m.slots
	}()
}

// Close waits for the calls that run, as long as the watchdog lets them, and frees the module. Calls
// after it fail with Closed. A guest that is not back by then is left alone with its memory, and Close
// says so: what it runs in cannot be taken from it.
func (m *Module) Close(ctx context.Context) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	idle := m.idle
	m.idle = nil
	m.mu.Unlock()
	m.host.mu.Lock()
	delete(m.host.modules, m)
	m.host.mu.Unlock()
	for _, inst := range idle {
		inst.close()
	}
	if !m.drain() {
		return fmt.Errorf("plugins: %s does not return from a call; its memory is not freed", m.info.Digest)
	}
	return m.engine.close(ctx)
}

// drain waits until no call runs, and reports whether it has come to that.
func (m *Module) drain() bool {
	limit := time.NewTimer((startTimes + 1) * m.host.opts.Timeout)
	defer limit.Stop()
	taken := 0
	defer func() {
		for range taken {
			<-m.slots
		}
	}()
	for range maxInstances {
		select {
		case m.slots <- struct{}{}:
			taken++
		case <-limit.C:
			return false
		}
	}
	return true
}

func (m *Module) failed(call string, cause CallCause, detail string) *CallError {
	name := m.info.Name
	if name == "" {
		name = m.info.Digest
	}
	return &CallError{Policy: name, Call: call, Cause: cause, Detail: detail}
}
