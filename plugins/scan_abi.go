package plugins

import (
	"fmt"
	"slices"
	"strings"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// signature of a function: one byte a value, 0x7f i32, 0x7e i64, 0x7d f32, 0x7c f64.
type signature struct {
	params  string
	results string
}

const (
	i32 = "\x7f"
	i64 = "\x7e"
)

func (s signature) String() string {
	return "(" + valueNames(s.params) + ") -> (" + valueNames(s.results) + ")"
}

func valueNames(values string) string {
	names := make([]string, len(values))
	for i := range names {
		switch v := values[i]; v {
		case wasm.I32:
			names[i] = "i32"
		case wasm.I64:
			names[i] = "i64"
		case wasm.F32:
			names[i] = "f32"
		case wasm.F64:
			names[i] = "f64"
		default:
			names[i] = fmt.Sprintf("%#x", v)
		}
	}
	return strings.Join(names, ", ")
}

// Names of the exports of ABI v1.
const (
	exportMemory     = "memory"
	exportMarker     = "policy_abi_v1"
	exportAlloc      = "policy_alloc"
	exportDescribe   = "policy_describe"
	exportInit       = "policy_init"
	exportScore      = "policy_score"
	exportConflict   = "policy_conflict"
	exportInitialize = "_initialize"
)

// abiExports are the functions that a module must export, or may.
var abiExports = []struct {
	name     string
	want     signature
	optional bool
}{
	{exportMarker, signature{"", ""}, false},
	{exportAlloc, signature{i32, i32}, false},
	{exportDescribe, signature{"", i64}, false},
	{exportScore, signature{i32 + i32 + i32, i32}, false},
	{exportConflict, signature{i32 + i32 + i32, i32}, false},
	{exportInit, signature{i32 + i32, ""}, true},
	{exportInitialize, signature{"", ""}, true},
}

// Names of the modules that may be imported from.
const (
	moduleHost = "datanode"
	moduleWASI = "wasi_snapshot_preview1"
)

// abiImports are the functions that a module may import. Those of WASI are what the runtimes of Go,
// TinyGo, Rust and AssemblyScript want before they run at all; none of them reaches a file, a
// socket, the environment, or a clock that moves.
var abiImports = map[string]map[string]signature{
	moduleHost: {
		"log":         {i32 + i32, ""},
		"config_get":  {i32 + i32 + i32 + i32, i32},
		"counter_add": {i32 + i32 + i64, ""},
	},
	moduleWASI: {
		"args_get":            {i32 + i32, i32},
		"args_sizes_get":      {i32 + i32, i32},
		"clock_time_get":      {i32 + i64 + i32, i32},
		"environ_get":         {i32 + i32, i32},
		"environ_sizes_get":   {i32 + i32, i32},
		"fd_close":            {i32, i32},
		"fd_fdstat_get":       {i32 + i32, i32},
		"fd_fdstat_set_flags": {i32 + i32, i32},
		"fd_prestat_dir_name": {i32 + i32 + i32, i32},
		"fd_prestat_get":      {i32 + i32, i32},
		"fd_read":             {i32 + i32 + i32 + i32, i32},
		"fd_seek":             {i32 + i64 + i32 + i32, i32},
		"fd_write":            {i32 + i32 + i32 + i32, i32},
		"poll_oneoff":         {i32 + i32 + i32 + i32, i32},
		"proc_exit":           {i32, ""},
		"random_get":          {i32 + i32, i32},
		"sched_yield":         {"", i32},
	},
}

func (l *layout) importSection(c *cursor) {
	for n := c.count(maxImports, "imports"); n > 0 && c.Err == nil; n-- {
		module, name, kind := c.name(), c.name(), c.Byte()
		if c.Err != nil {
			return
		}
		want, known := abiImports[module][name]
		if !known || kind != wasm.ExternFunc {
			c.refuse(ForbiddenImport, "%s.%s is not offered to a policy: remove what needs it", printable(module),
				printable(name))
			return
		}
		index := c.Index(len(l.types), "type")
		if c.Err == nil && l.types[index] != want {
			c.refuse(WrongSignature, "import %s.%s is %v, want %v", module, name, l.types[index], want)
			return
		}
		l.functions = append(l.functions, index)
		if full := module + "." + name; !slices.Contains(l.imports, full) { // at most maxImports of a few names
			l.imports = append(l.imports, full)
		}
		l.imported++
	}
}

// abi checks the exports of a module that has been walked over.
func (l *layout) abi() error {
	memory, ok := l.exports[exportMemory]
	if !ok || memory.kind != wasm.ExternMemory || l.memories == 0 {
		return refuse(MissingExport, "no memory of its own is exported as %q: do not import one", exportMemory)
	}
	for _, e := range abiExports {
		have, ok := l.exports[e.name]
		if !ok && e.optional {
			continue
		}
		if !ok {
			return refuse(MissingExport, "%s: export it as %v (see docs/policy-abi.md)", e.name, e.want)
		}
		if have.kind != wasm.ExternFunc || int(have.index) >= len(l.functions) {
			return refuse(WrongSignature, "%s is not a function, want %v", e.name, e.want)
		}
		if sig := l.types[l.functions[have.index]]; sig != e.want {
			return refuse(WrongSignature, "%s is %v, want %v", e.name, sig, e.want)
		}
	}
	return nil
}

// printable is a name of the module as it may be shown on a terminal.
func printable(s string) string {
	quoted := fmt.Sprintf("%+q", s)
	return quoted[1 : len(quoted)-1]
}
