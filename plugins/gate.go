package plugins

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/datanode/datanode/plugins/meter"
)

// The gate, in the order in which a module passes it:
//
//	scan      size, structure, signatures, imports, memory and tables     scan.go
//	meter     the module counts its own work from here on                 package meter
//	  ── from here on in a child process, if there is one ──              child.go
//	validate  the module as it came
//	compile   the metered one, into the folder of the cache               engine.go, cache.go
//	self-test fresh, used, shuffled, interpreted                          selftest.go
//	  ── from here on in this process again ──
//	load      the machine code from the folder; one instance

// prepared is a module that has passed what needs no compiler.
type prepared struct {
	module  []byte // as it came
	metered []byte
	layout  *layout
	digest  string
}

// prepare scans and meters a module, both at once, since either takes 20 ms for a Go guest and time in
// proportion to its bytes for anything. The scan's reason for a refusal goes first.
func (h *Host) prepare(module []byte) (*prepared, error) {
	var metered []byte
	var meterErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if len(module) <= maxModuleBytes {
			metered, meterErr = meter.Instrument(module)
		}
	}()
	l, err := scan(module, h.opts.MemoryPages)
	<-done
	if err != nil {
		return nil, err
	}
	if meterErr != nil {
		return nil, unmetered(meterErr)
	}
	return &prepared{module: module, metered: metered, layout: l, digest: digestOf(module)}, nil
}

// unmetered is the error of package meter as a reason for refusing a module.
func unmetered(err error) error {
	reason := Malformed
	if e := (*meter.Error)(nil); errors.As(err, &e) {
		switch e.Reason {
		case meter.AlreadyMetered:
			reason = AlreadyMetered
		case meter.UnknownOpcode:
			reason = ForbiddenInstruction
		case meter.TooLarge:
			reason = TooComplex
		}
	}
	return refuse(reason, "%v", err)
}

// Compile puts a module through the gate. A *LoadError says why it was refused. A compiler in this
// process cannot be interrupted: ctx is looked at before and after it; a child is killed.
func (h *Host) Compile(ctx context.Context, module []byte) (*Module, error) {
	return h.CompileWith(ctx, module, nil)
}

// CompileWith is Compile for a module that is to get config: by config_get, and by policy_init
// if it exports that.
func (h *Host) CompileWith(ctx context.Context, module []byte, config map[string]string) (*Module, error) {
	m, _, err := h.pass(ctx, module, config)
	return m, err
}

// pass is the whole gate.
func (h *Host) pass(ctx context.Context, module []byte, config map[string]string) (*Module, *Report, error) {
	began := h.now()
	p, err := h.prepare(module)
	if err != nil {
		return nil, nil, err
	}
	select {
	case h.compiling <- struct{}{}:
		defer func() { <-h.compiling }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("plugins: compile: %w", err)
	}
	m, report, err := h.admit(ctx, p, config)
	if err != nil {
		return nil, nil, err
	}
	report.GateNanos = int64(h.now().Sub(began))
	m.report = report
	return m, report, nil
}

// admit takes a module from the cache, or has it compiled and tried, in a child if there is one.
func (h *Host) admit(ctx context.Context, p *prepared, config map[string]string) (*Module, *Report, error) {
	if h.cache == nil {
		return h.inProcess(ctx, p, config, "")
	}
	entry := h.cache.entry(h.opts, p.digest, config)
	if report := entry.open(); report != nil {
		m, err := h.fromCache(ctx, p, config, entry)
		report.FromCache = true
		return m, report, err
	}
	if len(h.opts.Child) == 0 {
		dir, err := entry.prepare()
		if err != nil {
			return nil, nil, fmt.Errorf("plugins: cache: %w", err)
		}
		defer entry.abandon(dir)
		m, report, err := h.inProcess(ctx, p, config, dir)
		if err == nil {
			err = h.keep(entry, dir, report)
		}
		return m, report, err
	}
	report, err := h.inChild(ctx, p, config)
	if err != nil {
		return nil, nil, err
	}
	if entry.open() == nil {
		return nil, nil, fmt.Errorf("plugins: cache: what the child compiled into %s cannot be read back", entry.dir)
	}
	m, err := h.fromCache(ctx, p, config, entry)
	return m, report, err
}

// keep seals what was compiled. A cache that cannot be written is no reason to do without a policy,
// except for a child, whose work would be lost.
func (h *Host) keep(entry *cacheEntry, dir string, report *Report) error {
	err := entry.seal(dir, report)
	if err != nil && !h.opts.alone {
		h.opts.Logger.Warn("compiled policy is not kept", "policy", report.Digest, "error", err)
		return nil
	}
	return err
}

// inProcess compiles and tries a module here.
func (h *Host) inProcess(ctx context.Context, p *prepared, config map[string]string, dir string) (*Module, *Report,
	error) {
	report := reportOf(h, p)
	if !h.opts.alone {
		h.unbounded.Do(func() {
			h.opts.Logger.Warn("policies are compiled in this process: only the structural scan bounds what that takes")
		})
	}
	if err := h.validate(ctx, p); err != nil {
		return nil, nil, err
	}
	began := time.Now()
	e, err := h.compile(ctx, p.metered, dir)
	if err != nil {
		return nil, nil, err
	}
	report.CompileNanos = int64(time.Since(began))
	m := newModule(h, e, p, config)
	if err := m.selfTest(ctx, p, report); err != nil {
		m.Close(context.WithoutCancel(ctx)) // err says more
		return nil, nil, err
	}
	return m, report, nil
}

// validate checks the types of the module as it came. The rewritten one is validated too, when it is
// compiled, but that says nothing about the one that was signed, stored and sent.
func (h *Host) validate(ctx context.Context, p *prepared) error {
	e, err := h.interpret(ctx, p.layout.code)
	if err != nil {
		return err
	}
	return e.close(ctx)
}

// fromCache loads what has passed the gate before, and starts one instance for its description.
func (h *Host) fromCache(ctx context.Context, p *prepared, config map[string]string, entry *cacheEntry) (*Module,
	error) {
	e, err := h.compile(ctx, p.metered, entry.code())
	if err != nil {
		return nil, err
	}
	m := newModule(h, e, p, config)
	if err := m.wake(ctx); err != nil {
		m.Close(context.WithoutCancel(ctx)) // err says more
		return nil, err
	}
	return m, nil
}

// wake starts the first instance of a module and has it describe itself.
func (m *Module) wake(ctx context.Context) error {
	m.slots <- struct{}{} // nobody else has the module yet
	inst, err := m.start(ctx, m.engine, m.host.opts.Budget)
	if err != nil {
		m.retire(inst)
		return m.refused(ctx, NotStarted, err)
	}
	text, err := inst.describe(ctx)
	if err == nil {
		err = m.describedBy(text)
	}
	if err != nil || !m.keep(inst) {
		m.retire(inst)
	}
	return m.refused(ctx, DescribeInvalid, err)
}
