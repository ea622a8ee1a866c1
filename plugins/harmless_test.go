package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// The modules of these tests are to show that our own bounds hold, and are just beyond them: whoever feeds one to the
// bare engine, or to another that is built like it, must get an answer, without waiting or running out of memory.
const (
	bareArgument  = "act-as-bare-engine"
	bareData      = 64 * mib
	bareProcessor = 2 * time.Second // none needs one of them on a machine of its own
)

// bareEngine compiles the module on its standard input with nothing around the engine but limits.
func bareEngine(in io.Reader) int {
	module, err := io.ReadAll(in)
	if err != nil {
		return 3
	}
	if err := (limits{Data: childData, Processor: bareProcessor}).set(); err != nil {
		return 3
	}
	before := peakBytes()
	ctx := context.Background()
	for _, config := range []wazero.RuntimeConfig{wazero.NewRuntimeConfigCompiler(),
		wazero.NewRuntimeConfigInterpreter()} {
		debug.FreeOSMemory() // each alone
		r := wazero.NewRuntimeWithConfig(ctx, config)
		if _, err := r.CompileModule(ctx, module); err != nil {
			continue // which is an answer
		}
		_ = r.Close(ctx)
	}
	fmt.Println(peakBytes() - before)
	return 0
}

// Every module that the gate is tried with is harmless to the bare engine.
func TestHostileModulesAreHarmless(t *testing.T) {
	if runtime.GOOS != "linux" || slow > 1 {
		t.Skip("no limits on this system, or a race detector that takes more than they allow")
	}
	modules := hostiles()
	maps.Copy(modules, heavyModules())
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		cmd := exec.CommandContext(t.Context(), childCommand(t)[0], bareArgument)
		cmd.Stdin = bytes.NewReader(modules[name].module)
		said, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		taken, unsaid := strconv.ParseInt(strings.TrimSpace(string(said)), 10, 64)
		t.Logf("%-26s %7d bytes: %4d MiB, %v", name, len(modules[name].module), taken/mib, used)
		if err != nil || unsaid != nil || used > bareProcessor || taken > bareData {
			t.Errorf("%s, %d bytes: %v after %v of processor time: %.200s", name, len(modules[name].module), err, used, said)
		}
	}
}
