package plugins

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/plugins/internal/wasm"
	"github.com/datanode/datanode/policies"
)

// A call that outlives the watchdog is left behind; the module is not asked again before it is back.
func TestWatchdog(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection waits for the guest, and everything for the collection
	var logged bytes.Buffer
	h := newHost(t, Options{Budget: policies.Budget{Batch: 1 << 32}, Logger: slog.New(slog.NewJSONHandler(&logged, nil))})
	m := compile(t, h, tiny(badCalls["endless loop"].change))
	if err := askBoth(m, 1); err != nil {
		t.Fatal(err)
	}
	h.opts.Timeout = time.Millisecond // the budget is worth a second
	defer func() { h.opts.Timeout = defaultTimeout }()
	wantCause(t, askBoth(m, magicQueued), TimedOut, "not back after")
	if n := m.stuck.Load(); n != 1 {
		t.Fatalf("%d instances are stuck, want 1", n)
	}
	wantCause(t, askBoth(m, 1), TimedOut, "outlived the watchdog")
	if !strings.Contains(logged.String(), "outlived its watchdog") {
		t.Errorf("logged: %s", logged.String())
	}
	h.opts.Timeout = defaultTimeout
	if !m.drain() { // it comes back when its budget is spent
		t.Fatal("it does not come back")
	}
	if err := askBoth(m, 1); err != nil {
		t.Errorf("the call after it came back: %v", err)
	}
}

func wantCause(t *testing.T, err error, cause CallCause, detail string) {
	t.Helper()
	var call *CallError
	if !errors.As(err, &call) || call.Cause != cause || !strings.Contains(call.Detail, detail) {
		t.Errorf("%v, want %s: ...%s...", err, cause, detail)
	}
}

// A module that does not come back is not freed, and Close says so rather than waiting for ever.
func TestCloseOfStuck(t *testing.T) {
	h := newHost(t, Options{})
	m, err := h.Compile(t.Context(), tiny(nil))
	if err != nil {
		t.Fatal(err)
	}
	h.opts.Timeout = time.Millisecond
	m.slots <- struct{}{} // a call that runs
	if err := m.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "does not return") {
		t.Errorf("%v, want that it does not return", err)
	}
	<-m.slots
	if err := m.engine.close(t.Context()); err != nil {
		t.Error(err)
	}
}

// The budget grows with the batch, and the cost is that of all batches together.
func TestCostAndBudget(t *testing.T) {
	m := compile(t, newHost(t, Options{Budget: policies.Budget{Batch: 2000, Record: 300}}), Default())
	cost := func(n int) uint64 {
		facts := make([]policies.Facts, n)
		cost, err := m.Score(t.Context(), facts, make([]policies.Score, n))
		if err != nil {
			t.Fatal(err)
		}
		return cost
	}
	one, many := cost(1), cost(256)
	if one == 0 || many < 100*one/2 || cost(1) != one {
		t.Errorf("one costs %d and then %d, 256 cost %d", one, cost(1), many)
	}
	if have := cost(512); have != 2*many {
		t.Errorf("512 cost %d, want twice the %d of 256", have, many)
	}
	tight := policies.Budget{Batch: one - 1, Record: 1} // one more than what one record costs is too little for two
	h := newHost(t, Options{})
	again := compile(t, h, Default())
	h.opts.Budget = orDefault(tight)
	facts := make([]policies.Facts, 2)
	if have, err := again.Score(t.Context(), facts[:1], make([]policies.Score, 1)); err != nil || have != one {
		t.Errorf("a budget of exactly the cost: %d, %v", have, err)
	}
	_, err := again.Score(t.Context(), facts, make([]policies.Score, 2))
	wantCause(t, err, Overrun, "is spent")
}

// All that a guest may import is there, and is charged for.
func TestHostFunctionsAreComplete(t *testing.T) {
	funcs := hostFuncs()
	for module, names := range abiImports {
		for name := range names {
			if funcs[module][name] == nil {
				t.Errorf("%s.%s may be imported, but is not there", module, name)
			}
		}
		if have, want := len(funcs[module]), len(names); have != want {
			t.Errorf("%s has %d functions, want %d", module, have, want)
		}
	}
}

// memoryOf is an instance to call host functions with, from outside of any guest.
func memoryOf(t *testing.T) *instance {
	t.Helper()
	m := compile(t, newHost(t, Options{}), tiny(nil))
	i, err := m.acquire(t.Context(), "test", orDefault(policies.Budget{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.retire(i) })
	i.env.begin(m, 1_700_000_000_123_456)
	i.left.Set(1 << 30)
	return i
}

func TestWASI(t *testing.T) {
	i := memoryOf(t)
	memory := i.guest.Memory()
	size := uint64(memory.Size())
	for _, c := range []struct {
		name string
		args []uint64
		want errno
	}{
		{"args_get", []uint64{0, 0}, errnoOK}, {"args_sizes_get", []uint64{8, 12}, errnoOK},
		{"args_sizes_get", []uint64{size, 0}, errnoFault},
		{"environ_sizes_get", []uint64{8, size - 3}, errnoFault},
		{"clock_time_get", []uint64{clockReal, 0, 64}, errnoOK}, {"clock_time_get", []uint64{clockMonotonic, 0, 72}, errnoOK},
		{"clock_time_get", []uint64{2, 0, 8}, errnoInval}, {"clock_time_get", []uint64{0, 0, size - 7}, errnoFault},
		{"fd_close", []uint64{2}, errnoOK}, {"fd_close", []uint64{3}, errnoBadf},
		{"fd_fdstat_set_flags", []uint64{4, 0}, errnoBadf},
		{"fd_fdstat_get", []uint64{1, 96}, errnoOK}, {"fd_fdstat_get", []uint64{3, 96}, errnoBadf},
		{"fd_fdstat_get", []uint64{1, size - 23}, errnoFault},
		{"fd_prestat_get", []uint64{3, 96}, errnoBadf}, {"fd_seek", []uint64{1, 0, 0, 96}, errnoSpipe},
		{"fd_seek", []uint64{9, 0, 0, 96}, errnoBadf},
		{"fd_read", []uint64{0, 0, 1 << 31, 96}, errnoOK}, {"fd_read", []uint64{1, 0, 0, 96}, errnoBadf},
		{"fd_write", []uint64{0, 0, 0, 96}, errnoBadf}, {"fd_write", []uint64{2, size - 4, 1, 96}, errnoFault},
		{"fd_write", []uint64{2, 200, 1, 96}, errnoOK},
		{"poll_oneoff", []uint64{0, 0, 0, 96}, errnoInval},
		{"poll_oneoff", []uint64{0, 1000, maxSubscriptions + 1, 96}, errnoInval},
		{"poll_oneoff", []uint64{0, 1000, 1 << 31, 96}, errnoInval},
		{"poll_oneoff", []uint64{size - 47, 1000, 1, 96}, errnoFault},
		{"poll_oneoff", []uint64{1024, 2048, 2, 96}, errnoOK},
		{"random_get", []uint64{128, 16}, errnoOK}, {"random_get", []uint64{size - 1, 2}, errnoFault},
	} {
		if have := wasiFuncs[c.name](i, memory, c.args); have != c.want {
			t.Errorf("%s%v: errno %d, want %d", c.name, c.args, have, c.want)
		}
	}
	if nanos, _ := memory.ReadUint64Le(64); nanos != 1_700_000_000_123_456_000 {
		t.Errorf("the clock shows %d", nanos)
	}
	if nanos, _ := memory.ReadUint64Le(72); nanos != 1 {
		t.Errorf("the monotonic clock shows %d, want 1", nanos)
	}
}

// A write of many pieces is taken in part, and its bytes end up in the log, not in memory.
func TestWASIWrite(t *testing.T) {
	i := memoryOf(t)
	memory := i.guest.Memory()
	for n := range uint32(maxVectors + 5) {
		memory.WriteUint32Le(4096+8*n, 16) // the description
		memory.WriteUint32Le(4096+8*n+4, 4)
	}
	if e := wasiWrite(i, memory, []uint64{stderr, 4096, maxVectors + 5, 96}); e != errnoOK {
		t.Fatal(e)
	}
	if n, _ := memory.ReadUint32Le(96); n != 4*maxVectors {
		t.Errorf("%d bytes are said to be written, want %d", n, 4*maxVectors)
	}
	if have := i.env.stderr.String(); have != strings.Repeat(`{"na`, maxVectors) {
		t.Errorf("stderr got %q", have)
	}
	memory.WriteUint32Le(4100, memory.Size())
	if e := wasiWrite(i, memory, []uint64{stderr, 4096, 1, 96}); e != errnoFault {
		t.Errorf("errno %d for bytes outside of memory", e)
	}
}

// Random bytes are the same in every call, and each costs a unit.
func TestWASIRandom(t *testing.T) {
	i := memoryOf(t)
	memory := i.guest.Memory()
	draw := func() uint64 {
		i.env.begin(i.module, 1)
		wasiRandom(i, memory, []uint64{128, 8})
		v, _ := memory.ReadUint64Le(128)
		return v
	}
	left := i.left.Get()
	if first, second := draw(), draw(); first != second || first == 0 {
		t.Errorf("%#x, then %#x", first, second)
	}
	if spent := left - i.left.Get(); spent != 16 {
		t.Errorf("16 bytes cost %d", spent)
	}
	i.left.Set(7)
	if e := wasiRandom(i, memory, []uint64{128, 8}); e != errnoFault || int64(i.left.Get()) >= 0 {
		t.Errorf("errno %d with %d left", e, int64(i.left.Get()))
	}
}

func TestWASIPoll(t *testing.T) {
	i := memoryOf(t)
	memory := i.guest.Memory()
	memory.Write(1024, binary.LittleEndian.AppendUint64(nil, 0xabcdef))
	memory.Write(1024+subscriptionBytes, append(binary.LittleEndian.AppendUint64(nil, 77), 1)) // reading: not to be had
	if e := wasiPoll(i, memory, []uint64{1024, 2048, 2, 96}); e != errnoOK {
		t.Fatal(e)
	}
	events, _ := memory.Read(2048, 2*eventBytes)
	le := binary.LittleEndian
	if le.Uint64(events) != 0xabcdef || le.Uint16(events[8:]) != 0 ||
		le.Uint64(events[eventBytes:]) != 77 || errno(le.Uint16(events[eventBytes+8:])) != errnoNotsup ||
		events[eventBytes+10] != 1 {
		t.Errorf("%x", events)
	}
}

// However many calls there are, a module fills only so much of the log in a time.
func TestChatterIsBounded(t *testing.T) {
	var logged bytes.Buffer
	h := newHost(t, Options{Logger: slog.New(slog.NewJSONHandler(&logged, nil))})
	now := time.Unix(1_700_000_000, 0)
	h.now = func() time.Time { return now }
	m := compile(t, h, tiny(func(g *guestParts) {
		g.imports = [][]byte{importFunc(moduleHost, "log", typeTwo)}
		g.score = cat([]byte{0x41, 16, 0x41, 20, wasm.OpCall, 0}, returnN)
	}))
	ask := func(times int) {
		for range times {
			if _, err := m.Score(context.Background(), make([]policies.Facts, 1), make([]policies.Score, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask(10 * maxChatter)
	if n := strings.Count(logged.String(), "policy says"); n != maxChatter {
		t.Errorf("%d lines in one window, want %d", n, maxChatter)
	}
	logged.Reset()
	now = now.Add(chatterWindow)
	ask(3)
	if text := logged.String(); strings.Count(text, "policy says") != 3 ||
		strings.Count(text, "more than is logged") != 1 {
		t.Errorf("in the next window: %s", text)
	}
}
