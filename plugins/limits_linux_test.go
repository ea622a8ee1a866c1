package plugins

import (
	"errors"
	"maps"
	"os"
	"testing"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// mostGrowth is what refusing a module may take of memory, in this process and the child together.
const mostGrowth = 256 * mib

// However hostile a module is, refusing it takes little memory: of this process, and of the child.
func TestHostileModulesTakeLittle(t *testing.T) {
	if slow > 1 {
		t.Skip("the race detector takes more than any module")
	}
	h := newHost(t, Options{Child: childCommand(t)})
	var child int64
	h.childEnded = func(peak int64) { child = peak }
	worst, which := int64(0), ""
	modules := hostiles()
	maps.Copy(modules, heavyModules())
	for name, c := range modules {
		child = 0
		// From here on VmHWM is the peak since now. Where that cannot be had, it is that of all tests.
		_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
		before := statusBytes("VmRSS:")
		_, err := h.Check(t.Context(), c.module)
		if refused := (*LoadError)(nil); !errors.As(err, &refused) && c.reason != "" {
			t.Errorf("%s: %v", name, err)
		}
		grown := statusBytes("VmHWM:") - before + child
		if grown > mostGrowth {
			t.Errorf("%s took %d MiB, %d of them in the child, want at most %d: %v", name, grown/mib, child/mib, mostGrowth/mib,
				err)
		}
		if grown > worst {
			worst, which = grown, name
		}
	}
	t.Logf("at most %d MiB, for: %s", worst/mib, which)
}

// heavyModules pass the scan, or nearly, and take much for what they are.
func heavyModules() map[string]hostile {
	return map[string]hostile{
		"many live locals":        {module: justBeyond(100, func(n int) []byte { return liveLocals(n, 15) })},
		"a large stack of values": {module: manyValues(20_000)},
	}
}

// manyValues has n values on the operand stack at once.
func manyValues(n int) []byte {
	code := make([]byte, 0, 6*n)
	for range n {
		code = append(code, 0x20, 0, 0x28, 2, 0)
	}
	for range n - 1 {
		code = append(code, 0x6a)
	}
	return scoring(append(code, wasm.OpDrop))
}
