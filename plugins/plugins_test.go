package plugins

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datanode/datanode/plugins/internal/wasm"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
	"go.uber.org/goleak"
)

// TestMain makes this program the child of its own hosts, see childCommand.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childArgument {
		os.Exit(ChildMain(os.Stdin, os.Stdout))
	}
	if len(os.Args) == 2 && os.Args[1] == bareArgument {
		os.Exit(bareEngine(os.Stdin))
	}
	goleak.VerifyTestMain(m)
}

const childArgument = "act-as-child"

func childCommand(t testing.TB) []string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{program, childArgument}
}

// newHost has a child only if it is asked for one: this process is faster.
func newHost(t testing.TB, o Options) *Host {
	t.Helper()
	h, err := New(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// newParent has a child with time enough to come to a verdict about anything that is not endless.
func newParent(t testing.TB, o Options) *Host {
	t.Helper()
	o.Child, o.ChildTime = childCommand(t), 10*defaultChildTime
	return newHost(t, o)
}

func compile(t testing.TB, h *Host, module []byte) *Module {
	t.Helper()
	m, err := h.Compile(context.Background(), module)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestDefaultConforms(t *testing.T) {
	policytest.Run(t, compile(t, newHost(t, Options{}), Default()))
}

func TestTinyConforms(t *testing.T) {
	policytest.Run(t, compile(t, newHost(t, Options{}), tiny(nil)))
}

func TestDefaultAgreesWithNative(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 20_000
	}
	policytest.Agree(t, policies.Native(), compile(t, newHost(t, Options{}), Default()), n, 20240501)
}

func TestDefaultDescribesItself(t *testing.T) {
	info := compile(t, newHost(t, Options{}), Default()).Info()
	want := policies.Native().Info()
	if info.Name != want.Name || info.Version != want.Version ||
		strings.Join(info.Reasons, "\n") != strings.Join(want.Reasons, "\n") {
		t.Errorf("module %+v\nnative %+v", info, want)
	}
	if !strings.HasPrefix(info.Digest, "sha256:") || len(info.Digest) != len("sha256:")+64 {
		t.Errorf("digest %q", info.Digest)
	}
	if n := len(Default()); n >= 4096 {
		t.Errorf("the default policy takes %d bytes, want fewer than 4096", n)
	}
}

// badCalls are guests that answer well until the first record says otherwise.
var badCalls = map[string]struct {
	change func(*guestParts)
	cause  CallCause
	detail string
}{
	"unreachable": {func(g *guestParts) { g.score = cat(whenMagic(0, 0x00), returnN) }, Trapped, "unreachable"},
	"endless loop": {func(g *guestParts) {
		g.score = cat(whenMagic(0, wasm.OpLoop, wasm.BlockEmpty, wasm.OpBr, 0, wasm.OpEnd), returnN)
	},
		Overrun, "units is spent"},
	"endless recursion": {func(g *guestParts) {
		g.score = cat(whenMagic(0, 0x20, 0, 0x20, 1, 0x20, 2, wasm.OpCall, 3, wasm.OpDrop), returnN)
	}, Overrun, "units is spent"},
	"out of bounds": {func(g *guestParts) { g.score = cat(whenMagic(0, 0x41, 0x7f, 0x41, 1, 0x36, 2, 0), returnN) },
		Trapped, "out of bounds"},
	"one too many": {func(g *guestParts) { g.score = cat(whenMagic(0, 0x20, 1, 0x41, 1, 0x6a, wasm.OpReturn), returnN) },
		BadCount, "2 answers, want 1"},
	"none": {func(g *guestParts) { g.score = cat(whenMagic(0, 0x41, 0, wasm.OpReturn), returnN) }, BadCount,
		"0 answers, want 1"},
	"dirty padding": {func(g *guestParts) { g.score = cat(whenMagic(0, 0x20, 2, 0x41, 1, 0x3a, 0, 7), returnN) },
		BadAnswer, "answer 0: score: bytes 6 and 7"},
	"exit": {func(g *guestParts) {
		g.imports = [][]byte{importFunc(moduleWASI, "proc_exit", typeExit)}
		g.score = cat(whenMagic(0, 0x41, 0, wasm.OpCall, 0), returnN)
	}, Trapped, "exit_code(0)"},
	"takes all memory": {func(g *guestParts) {
		grow := []byte{wasm.OpLoop, wasm.BlockEmpty, 0x41, 1, wasm.OpMemoryGrow, 0, 0x41, 0x7f, 0x47, wasm.OpBrIf, 0,
			wasm.OpEnd, 0x00}
		g.score = cat(whenMagic(0, grow...), returnN)
	}, Trapped, "unreachable"},
	"verdict 9": {func(g *guestParts) {
		g.conflict = cat(waitAlways, whenMagic(pairPrefixBytes, 0x20, 2, 0x41, 9, 0x3a, 0, 0), returnN)
	}, BadAnswer, "answer 0: resolution: verdict"},
	"a score for no reason": {func(g *guestParts) { g.score = cat(whenMagic(0, answersReason(4, 2)...), returnN) },
		BadAnswer, "answer 0: reason 2, the description lists 0 to 1"},
	"a verdict for no reason": {func(g *guestParts) {
		g.conflict = cat(waitAlways, whenMagic(pairPrefixBytes, answersReason(2, 2)...), returnN)
	}, BadAnswer, "answer 0: reason 2, the description lists 0 to 1"},
}

func TestBadCalls(t *testing.T) {
	// The meter ends them, not the watchdog, however busy the machine is.
	h := newHost(t, Options{MemoryPages: 8, Timeout: time.Minute})
	for name, c := range badCalls {
		t.Run(name, func(t *testing.T) {
			m := compile(t, h, tiny(c.change))
			for range 3 { // an error leaves nothing behind
				err := askBoth(m, magicQueued)
				var call *CallError
				if !errors.As(err, &call) || call.Cause != c.cause || !strings.Contains(call.Detail, c.detail) {
					t.Fatalf("%v, want %s: ...%s...", err, c.cause, c.detail)
				}
				if call.Policy != "tiny" {
					t.Errorf("policy %q", call.Policy)
				}
				if err := askBoth(m, 1); err != nil {
					t.Fatalf("the next call: %v", err)
				}
			}
		})
	}
}

func askBoth(m *Module, queued uint32) error {
	f := policies.Facts{Kind: policies.KindRepair, QueuedOps: queued}
	if _, err := m.Score(context.Background(), []policies.Facts{f}, make([]policies.Score, 1)); err != nil {
		return err
	}
	_, err := m.Conflict(context.Background(), []policies.Pair{{Existing: f, Incoming: f}}, make([]policies.Resolution, 1))
	return err
}

// While some callers run into a trap, others get their answers.
func TestBadAndGoodCallsAtOnce(t *testing.T) {
	m := compile(t, newHost(t, Options{}), tiny(badCalls["unreachable"].change))
	var wg sync.WaitGroup
	for worker := range 2 * maxInstances {
		wg.Go(func() {
			for range 50 {
				if bad := worker%2 == 1; bad != (askBoth(m, uint32(worker%2)*magicQueued) != nil) {
					t.Errorf("worker %d: bad %v", worker, bad)
				}
			}
		})
	}
	wg.Wait()
}

// A request ends with its context: no further batch is asked for.
func TestCancelledCall(t *testing.T) {
	calls, cancel := 0, func() {}
	h := newHost(t, Options{Logger: slog.New(onLine{slog.DiscardHandler, func(line string) {
		if line == "policy says" {
			calls++
			cancel()
		}
	}})})
	m := compile(t, h, tiny(func(g *guestParts) {
		g.imports = [][]byte{importFunc(moduleHost, "log", typeTwo)}
		g.score = cat([]byte{0x41, 16, 0x41, 20, wasm.OpCall, 0}, returnN)
	}))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	calls, cancel = 0, stop
	h.now = func() time.Time { return time.Now().Add(chatterWindow) } // the trial has said all that may be said in one
	_, err := m.Score(ctx, make([]policies.Facts, 2*batchMost), make([]policies.Score, 2*batchMost))
	if wantCause(t, err, Cancelled, "context canceled"); calls != 1 {
		t.Errorf("%d batches were asked for, want 1", calls)
	}
	if err := askBoth(m, 1); err != nil {
		t.Fatal(err)
	}
}

// onLine does something for each line that is logged.
type onLine struct {
	slog.Handler
	do func(line string)
}

func (h onLine) Enabled(context.Context, slog.Level) bool { return true }

func (h onLine) Handle(_ context.Context, r slog.Record) error {
	h.do(r.Message)
	return nil
}

func TestCompileCancelled(t *testing.T) {
	h := newHost(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Compile(ctx, Default()); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want %v", err, context.Canceled)
	}
}

func TestClosedModule(t *testing.T) {
	h := newHost(t, Options{})
	m, err := h.Compile(context.Background(), tiny(nil))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range maxInstances {
		wg.Go(func() {
			for askBoth(m, 1) == nil {
			}
		})
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	var call *CallError
	if err := askBoth(m, 1); !errors.As(err, &call) || call.Cause != Closed {
		t.Fatalf("%v, want closed", err)
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatalf("closed twice: %v", err)
	}
}

func TestHostClosesItsModules(t *testing.T) {
	h, err := New(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := h.Compile(t.Context(), tiny(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wantCause(t, askBoth(m, 1), Closed, "has been closed")
	if n := len(h.modules); n != 0 {
		t.Errorf("%d modules are left", n)
	}
}

func TestLengthsMustMatch(t *testing.T) {
	m := compile(t, newHost(t, Options{}), tiny(nil))
	if _, err := m.Score(context.Background(), make([]policies.Facts, 2), make([]policies.Score, 1)); err == nil {
		t.Error("two facts into one score")
	}
	if _, err := m.Conflict(context.Background(), make([]policies.Pair, 1), nil); err == nil {
		t.Error("one pair into no resolution")
	}
}

func TestCacheDir(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		h := newHost(t, Options{CacheDir: dir})
		if err := askBoth(compile(t, h, Default()), 1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{MemoryPages: 70000}, {Timeout: -1}, {CacheDir: "/dev/null/x"}} {
		if h, err := New(context.Background(), o); err == nil {
			h.Close(context.Background())
			t.Errorf("%+v is accepted", o)
		}
	}
}
