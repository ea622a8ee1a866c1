// Package plugins turns WebAssembly modules into policies. A module is strange code, so it passes a
// gate first (see gate.go): it is walked over before a compiler sees it, rewritten to count its own
// work, compiled in a child process that may not take much, and tried out in two engines. It is linked
// to three harmless functions and a WASI that knows no files, no environment and no moving clock, and
// from then on asked in batches, each within a budget of counted work. What it answers is checked as
// if it came off the network.
//
// The records that pass between host and guest are described in abi.go and docs/policy-abi.md.
//
// A Host and its Modules may be used by several goroutines at once. Modules are compiled one after
// the other. A guest runs nowhere but within Compile, Check, Score and Conflict, one call at a time for
// each instance; an instance that trapped, spent its budget or answered nonsense is thrown away. The
// only goroutines are one for each instance, which a Module has a few of until it is closed.
package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/datanode/datanode/policies"
)

// Options of a Host. The zero value is ready for use.
type Options struct {
	// CacheDir keeps compiled modules between runs, so that loading one again takes a tenth of the
	// time. It must belong to this user and be closed to all others: what is in it is executed. Empty
	// is for a folder that lasts as long as the host.
	CacheDir string
	// MemoryPages is the most memory an instance can take, in pages of 64 KiB. 0 means 256.
	MemoryPages uint32
	// Budget bounds the metered work of each call. All nodes of a cell must agree on it.
	Budget policies.Budget
	// Timeout is how long a call is waited for, by the wall clock, should the budget fail to end it: it is
	// given up after one to two times as long.
	// 0 means one second.
	Timeout time.Duration
	// Logger gets what guests log, and what they write to stderr. nil discards it.
	Logger *slog.Logger

	// Child is the command line of a program that calls ChildMain and nothing else, such as this
	// program with a hidden argument. Modules are compiled and tried in it, under limits of memory and
	// processor time. Empty compiles them in this process, where nothing but the structural scan
	// bounds what the compiler takes; a log line says so.
	Child []string
	// ChildTime is the processor time that a child may take for a small module that does nothing; for
	// others the structural scan and Budget say how much more they need. 0 means 250 ms.
	ChildTime time.Duration

	// alone says that this is the child: it may use all of the machine, and is killed if it does.
	alone     bool
	unlimited string // in the child: why its limits could not be set
}

const (
	defaultMemoryPages = 256
	defaultTimeout     = slow * time.Second
	defaultChildTime   = slow * 250 * time.Millisecond
	// startTimes is how many times the timeout of a call an instance may take to start: a Go guest
	// sets up a heap and a scheduler first.
	startTimes = 5
)

func (o Options) withDefaults() Options {
	if o.MemoryPages == 0 {
		o.MemoryPages = defaultMemoryPages
	}
	o.Budget = orDefault(o.Budget)
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.ChildTime == 0 {
		o.ChildTime = defaultChildTime
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
	if o.Timeout < 0 || o.ChildTime < 0 {
		return fmt.Errorf("plugins: timeouts %v and %v, want more than 0", o.Timeout, o.ChildTime)
	}
	return checkBudget(o.Budget)
}

// Host compiles modules.
type Host struct {
	opts  Options
	cache *diskCache // nil if everything stays in memory
	now   func() time.Time
	// limits of a child for a module.
	limits func(*prepared) limits
	// childEnded gets how much memory a child had at its peak. nil outside of tests.
	childEnded func(peakBytes int64)

	// compiling holds a token while a module is compiled: the compiler is the largest user of memory
	// here, and two hostile modules at once are worse than one after the other.
	compiling chan struct{}
	unbounded sync.Once // logs that there is no child

	mu      sync.Mutex
	modules map[*Module]bool // Guarded by mu. Those that are not closed yet.
}

// New starts a host. Close it to free what it holds.
func New(ctx context.Context, o Options) (*Host, error) {
	o = o.withDefaults()
	if err := o.valid(); err != nil {
		return nil, err
	}
	h := &Host{opts: o, now: time.Now, limits: o.limitsFor, modules: map[*Module]bool{}, compiling: make(chan struct{}, 1)}
	var err error
	switch {
	case o.CacheDir != "":
		h.cache, err = openCache(o.CacheDir)
	case len(o.Child) > 0:
		h.cache, err = openTemporaryCache() // how the child hands over what it has compiled
	}
	if err != nil {
		return nil, fmt.Errorf("plugins: cache: %w", err)
	}
	return h, ctx.Err()
}

// Close frees the host and those of its modules that are not closed yet.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	modules := slices.Collect(maps.Keys(h.modules))
	h.mu.Unlock()
	var errs []error
	for _, m := range modules {
		errs = append(errs, m.Close(ctx))
	}
	if h.cache != nil {
		errs = append(errs, h.cache.close())
	}
	return errors.Join(errs...)
}
