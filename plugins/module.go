package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/datanode/datanode/policies"
	"github.com/tetratelabs/wazero"
)

// maxInstances of one module. The leader asks one batch after the other; the rest is for a console
// or a command line that asks at the same time. A Go guest takes 4 MiB of memory for each.
const maxInstances = 4

// Module is a compiled module. It implements policies.Policy.
type Module struct {
	host     *Host
	compiled wazero.CompiledModule
	layout   exportsOf
	config   map[string]string // never written to
	info     policies.Info     // set by tryOut, then never written to
	schema   json.RawMessage   // as info

	// slots holds a token for each instance that runs. Close takes all of them.
	slots chan struct{}

	mu       sync.Mutex
	idle     []*instance      // guarded by mu. Invariant: len(idle) + len(slots) <= maxInstances
	closed   bool             // guarded by mu
	counters map[string]int64 // guarded by mu. Invariant: at most maxCounters names
}

var _ policies.Policy = (*Module)(nil)

// exportsOf tells which of the optional exports a module has.
type exportsOf struct {
	initialize bool
	init       bool
}

func newModule(h *Host, compiled wazero.CompiledModule, l *layout, digest string, config map[string]string) *Module {
	_, initialize := l.exports[exportInitialize]
	_, init := l.exports[exportInit]
	return &Module{
		host:     h,
		compiled: compiled,
		layout:   exportsOf{initialize, init},
		config:   maps.Clone(config),
		info:     policies.Info{Digest: digest},
		slots:    make(chan struct{}, maxInstances),
		counters: map[string]int64{},
	}
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

// Score asks the module about facts, in batches of at most 256. A *CallError says that it did not
// answer, and nothing in out is to be used then. The cost is 0 until modules are metered.
func (m *Module) Score(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	if len(facts) != len(out) {
		return 0, fmt.Errorf("plugins: score: %d facts, but room for %d scores", len(facts), len(out))
	}
	return m.with(ctx, exportScore, func(inst *instance) error {
		for batch := range slices.Chunk(facts, batchMost) {
			if err := inst.askScores(ctx, batch, out[:len(batch)]); err != nil {
				return err
			}
			out = out[len(batch):]
		}
		return nil
	})
}

// Conflict asks the module about pairs, as Score does about facts.
func (m *Module) Conflict(ctx context.Context, pairs []policies.Pair, out []policies.Resolution) (uint64, error) {
	if len(pairs) != len(out) {
		return 0, fmt.Errorf("plugins: conflict: %d pairs, but room for %d resolutions", len(pairs), len(out))
	}
	return m.with(ctx, exportConflict, func(inst *instance) error {
		for batch := range slices.Chunk(pairs, batchMost) {
			if err := inst.askResolutions(ctx, batch, out[:len(batch)]); err != nil {
				return err
			}
			out = out[len(batch):]
		}
		return nil
	})
}

// with lends an instance to ask, and keeps it for the next call unless ask failed.
func (m *Module) with(ctx context.Context, call string, ask func(*instance) error) (uint64, error) {
	inst, err := m.acquire(ctx, call)
	if err != nil {
		return 0, err
	}
	err = ask(inst)
	m.release(ctx, inst, err == nil)
	return 0, err
}

// acquire waits for a free slot and gives an idle instance, or a new one.
func (m *Module) acquire(ctx context.Context, call string) (*instance, error) {
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
	if inst != nil {
		return inst, nil
	}
	err := error(m.failed(call, Closed, "the module has been closed"))
	if !closed {
		inst, err = m.start(ctx)
	}
	if err != nil {
		<-m.slots
		return nil, err
	}
	return inst, nil
}

func (m *Module) release(ctx context.Context, inst *instance, whole bool) {
	m.mu.Lock()
	keep := whole && !m.closed && len(m.idle) < maxInstances
	if keep {
		m.idle = append(m.idle, inst)
	}
	m.mu.Unlock()
	if !keep {
		inst.close(ctx)
	}
	<-m.slots
}

// Close waits for the calls that run, at most as long as the watchdog lets them, and frees the
// module. Calls after it fail with Closed.
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
	for range maxInstances {
		m.slots <- struct{}{}
	}
	for _, inst := range idle {
		inst.close(ctx)
	}
	for range maxInstances {
		<-m.slots
	}
	return m.compiled.Close(ctx)
}

func (m *Module) failed(call string, cause CallCause, detail string) *CallError {
	name := m.info.Name
	if name == "" {
		name = m.info.Digest
	}
	return &CallError{Policy: name, Call: call, Cause: cause, Detail: detail}
}
