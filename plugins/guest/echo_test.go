package guest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/guest"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/plugins/guest/internal/golden"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Every binding reads and answers the golden batches: the echo policy in its language, built with its
// compiler, tells a host that is nothing but these lines what it sees.
func TestGoldenBindings(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	batches, err := golden.Parse(text)
	if err != nil || len(batches) == 0 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	for _, l := range []build.Lang{build.Go, build.C, build.Rust, build.AssemblyScript} {
		t.Run(string(l), func(t *testing.T) {
			e := newEcho(t, buildEcho(t, l))
			e.takesLargeBatches(t)
			for _, b := range batches {
				told, answers := e.ask(t, b)
				if err := b.Compare(told, answers); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// buildEcho skips the test where the compiler is missing, but not where CI is set.
func buildEcho(t *testing.T, l build.Lang) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "echo.wasm")
	err := build.Policy(t.Context(), "testdata/echo/"+string(l), out, build.Options{Node: "assemblyscript"})
	if missing := (*build.MissingError)(nil); errors.As(err, &missing) && os.Getenv("CI") == "" {
		t.Skipf("%v; skipped since the environment has no CI=true, with which this fails", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// echo is an instance of an echo policy.
type echo struct {
	guest api.Module
	told  []golden.Value
}

func newEcho(t *testing.T, module []byte) *echo {
	t.Helper()
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { r.Close(context.Background()) })
	e := &echo{}
	read := func(m api.Module, at, n uint32) []byte {
		b, ok := m.Memory().Read(at, n)
		if !ok {
			t.Errorf("%d bytes at %#x are outside of the memory", n, at)
		}
		return b
	}
	_, err := r.NewHostModuleBuilder("datanode").
		NewFunctionBuilder().WithFunc(func(_ context.Context, m api.Module, at, n uint32) {
		e.told = append(e.told, golden.Value{Name: "class", Text: fmt.Sprintf("%x", read(m, at, n))})
	}).Export("log").
		NewFunctionBuilder().WithFunc(func(_ context.Context, m api.Module, at, n uint32, delta int64) {
		e.told = append(e.told, golden.Value{Name: string(read(m, at, n)), Number: delta})
	}).Export("counter_add").
		NewFunctionBuilder().WithFunc(func(context.Context, uint32, uint32, uint32,
		uint32) uint32 {
		return 0xffffffff
	}).Export("config_get").
		Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	if e.guest, err = r.InstantiateWithConfig(ctx, module,
		wazero.NewModuleConfig().WithStartFunctions("_initialize")); err != nil {
		t.Fatal(err)
	}
	return e
}

// room asks the policy for memory.
func (e *echo) room(t *testing.T, n int) uint32 {
	t.Helper()
	at, err := e.guest.ExportedFunction("policy_alloc").Call(t.Context(), uint64(n))
	if err != nil || at[0] == 0 || at[0]%8 != 0 {
		t.Fatalf("policy_alloc: %v, %v", at, err)
	}
	return uint32(at[0])
}

// takesLargeBatches: those of a later host may be many times as long as they are now.
func (e *echo) takesLargeBatches(t *testing.T) {
	t.Helper()
	const large = 1 << 20
	first, second := e.room(t, large), e.room(t, large)
	if !e.guest.Memory().Write(first, make([]byte, large)) || !e.guest.Memory().Write(second, make([]byte, large)) {
		t.Errorf("%d bytes at %#x or %#x are outside of the memory", large, first, second)
	}
	if first < second+large && second < first+large {
		t.Errorf("%d bytes at %#x and %#x overlap", large, first, second)
	}
}

// ask hands a batch over. What lies behind it in memory is not zero, so that a record that is read
// beyond its end shows.
func (e *echo) ask(t *testing.T, b golden.Batch) (told []golden.Value, answers []byte) {
	t.Helper()
	const behind = 256
	in, out := e.room(t, len(b.Bytes)+behind), e.room(t, len(b.Answers))
	memory := e.guest.Memory()
	memory.Write(in, b.Bytes)
	for i := range uint32(behind) {
		memory.WriteByte(in+uint32(len(b.Bytes))+i, 0xee)
	}
	memory.Write(out, make([]byte, len(b.Answers)))
	e.told = nil
	export := "policy_score"
	if b.Conflict {
		export = "policy_conflict"
	}
	n, err := e.guest.ExportedFunction(export).Call(t.Context(), uint64(in), uint64(b.Count), uint64(out))
	if err != nil || uint32(n[0]) != uint32(b.Count) {
		t.Fatalf("%s: %v, %v, want %d", export, n, err, b.Count)
	}
	answers, _ = memory.Read(out, uint32(len(b.Answers)))
	return e.told, append([]byte(nil), answers...)
}

// The binding for Go is enough for a policy in a module of its own, without anything else of this one.
func TestGoBindingStandsAlone(t *testing.T) {
	dir := t.TempDir()
	source, err := os.ReadFile("testdata/echo/go/main.go")
	if err != nil {
		t.Fatal(err)
	}
	files := guest.Binding("go")
	files["main.go"] = []byte(strings.Replace(string(source), "github.com/datanode/datanode/plugins/guest",
		"example.com/mine/guest", 1))
	files["go.mod"] = []byte("module example.com/mine\n\ngo 1.26\n")
	if err := os.Mkdir(filepath.Join(dir, "guest"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := build.Policy(t.Context(), dir, filepath.Join(dir, "mine.wasm"), build.Options{}); err != nil {
		t.Fatal(err)
	}
}
