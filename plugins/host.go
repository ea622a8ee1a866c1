// Package plugins turns WebAssembly modules into policies. A module is strange code: it is walked
// over before the compiler sees it, linked to three harmless functions and a WASI that knows no
// files, no environment and no moving clock, tried out, and from then on asked in batches, each
// under a watchdog. What it answers is checked as if it came off the network.
//
// The records that pass between host and guest are described in abi.go and docs/policy-abi.md.
//
// A Host and its Modules may be used by several goroutines at once. A guest runs nowhere but within
// Compile, Score and Conflict, one call at a time for each instance; an instance that trapped, ran
// too long or answered nonsense is thrown away. The only goroutines are those of calls that run.
package plugins

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Options of a Host. The zero value is ready for use.
type Options struct {
	// CacheDir keeps compiled modules between runs. Empty keeps them in memory only. It must be
	// writable by nobody else: what is in it is executed.
	CacheDir string
	// MemoryPages is the most memory an instance can take, in pages of 64 KiB. 0 means 256.
	MemoryPages uint32
	// Timeout ends a call that runs longer, by the wall clock. 0 means one second.
	Timeout time.Duration
	// Logger gets what guests log, and what they write to stderr. nil discards it.
	Logger *slog.Logger
}

const (
	defaultMemoryPages = 256
	defaultTimeout     = time.Second
	// startTimes is how many times the timeout of a call an instance may take to start: a Go guest
	// sets up a heap and a scheduler first.
	startTimes = 5
)

func (o Options) withDefaults() Options {
	if o.MemoryPages == 0 {
		o.MemoryPages = defaultMemoryPages
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return o
}

func (o Options) valid() error {
	if o.MemoryPages > 65536 {
		return fmt.Errorf("plugins: %d memory pages, the most there can be is 65536", o.MemoryPages)
	}
	if o.Timeout < 0 {
		return fmt.Errorf("plugins: timeout %v, want more than 0", o.Timeout)
	}
	return nil
}

// Host compiles modules and owns what they share.
type Host struct {
	opts    Options
	runtime wazero.Runtime
	cache   wazero.CompilationCache

	// compiling is held while a module is compiled: the compiler is the largest user of memory here,
	// and two hostile modules at once are worse than one after the other.
	compiling sync.Mutex
}

// New starts a host. Close it to free what it holds.
func New(ctx context.Context, o Options) (*Host, error) {
	o = o.withDefaults()
	if err := o.valid(); err != nil {
		return nil, err
	}
	h := &Host{opts: o, cache: wazero.NewCompilationCache()}
	if o.CacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(o.CacheDir)
		if err != nil {
			return nil, fmt.Errorf("plugins: cache in %s: %w", o.CacheDir, err)
		}
		h.cache = cache
	}
	h.runtime = wazero.NewRuntimeWithConfig(ctx, h.runtimeConfig())
	if err := h.link(ctx); err != nil {
		h.Close(ctx)
		return nil, fmt.Errorf("plugins: %w", err)
	}
	return h, nil
}

// runtimeConfig: closing on a finished context makes every loop head look for it. That costs about
// half of a call (BenchmarkScore: 19 µs instead of 11 for 256 records, 4.1 instead of 1.6 for one),
// and is the only thing that ends an endless loop until modules count their own work, see meter.
func (h *Host) runtimeConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().
		WithCompilationCache(h.cache).
		WithCoreFeatures(api.CoreFeaturesV2.SetEnabled(api.CoreFeatureSIMD, false)).
		WithMemoryLimitPages(h.opts.MemoryPages).
		WithCloseOnContextDone(true).
		WithDebugInfoEnabled(false)
}

func (h *Host) link(ctx context.Context) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, h.runtime); err != nil {
		return err
	}
	_, err := h.runtime.NewHostModuleBuilder(moduleHost).
		NewFunctionBuilder().WithFunc(hostLog).Export("log").
		NewFunctionBuilder().WithFunc(hostConfigGet).Export("config_get").
		NewFunctionBuilder().WithFunc(hostCounterAdd).Export("counter_add").
		Instantiate(ctx)
	return err
}

// Close frees the host. Close its modules first.
func (h *Host) Close(ctx context.Context) error {
	err := h.runtime.Close(ctx)
	if cerr := h.cache.Close(ctx); err == nil {
		err = cerr
	}
	return err
}

// meter is where a module is rewritten to count its own work and to stop when its budget is spent,
// the same on every node. Until it does, calls cost 0 and the watchdog alone ends a loop.
func meter(code []byte) []byte { return code }

// Compile checks a module, compiles it and tries it out. A *LoadError says why it was refused. The
// compiler cannot be interrupted: ctx is looked at before and after it, and ends the trying out.
func (h *Host) Compile(ctx context.Context, module []byte) (*Module, error) {
	return h.CompileWith(ctx, module, nil)
}

// CompileWith is Compile for a module that is to be told config: by config_get, and by policy_init
// if it exports that.
func (h *Host) CompileWith(ctx context.Context, module []byte, config map[string]string) (*Module, error) {
	l, err := scan(module, h.opts.MemoryPages)
	if err != nil {
		return nil, err
	}
	compiled, err := h.compile(ctx, meter(l.code))
	if err != nil {
		return nil, err
	}
	m := newModule(h, compiled, l, digestOf(module), config)
	if err := m.tryOut(ctx); err != nil {
		m.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return m, nil
}

func (h *Host) compile(ctx context.Context, code []byte) (wazero.CompiledModule, error) {
	h.compiling.Lock()
	defer h.compiling.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plugins: compile: %w", err)
	}
	compiled, err := h.runtime.CompileModule(ctx, code)
	if err != nil {
		return nil, refuse(NotCompiled, "the compiler says: %s", firstLine(err))
	}
	return compiled, nil
}
