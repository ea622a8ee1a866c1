package abi

func exports() []Func {
	batch := []Param{{"in", "i32"}, {"n", "i32"}, {"out", "i32"}}
	return []Func{
		{Name: "policy_abi_v1", Doc: "empty; says that the module follows this page. Never called"},
		{Name: "policy_alloc", Params: []Param{{"n", "i32"}}, Result: "i32",
			Doc: "`n` bytes, aligned to 8, not at 0, that stay the host's as long as the instance lives. " +
				"Called up to three times an instance: " +
				"for the configuration, a batch (43 032 bytes) and its answers (2 048 bytes)"},
		{Name: "policy_describe", Result: "i64", Doc: "`pointer << 32 | length` of the description, JSON"},
		{Name: "policy_score", Params: batch, Result: "i32",
			Doc: "answers the score batch at `in` with `n` scores at `out`; returns `n`"},
		{Name: "policy_conflict", Params: batch, Result: "i32",
			Doc: "answers the conflict batch at `in` with `n` resolutions at `out`; returns `n`"},
		{Name: "_initialize", Optional: true,
			Doc: "called once, before anything else (WASI reactor). A start section is refused"},
		{Name: "policy_init", Params: []Param{{"cfg", "i32"}, {"len", "i32"}}, Optional: true,
			Doc: "called once, after `_initialize`: the configuration as a JSON object of strings. Trap to refuse it"},
	}
}

func imports() []Func {
	const host = "datanode"
	return append([]Func{
		{Module: host, Name: "log", Params: []Param{{"text", "i32"}, {"len", "i32"}},
			Doc: "one line for the node's log; 8 a call, 512 bytes each, the rest is dropped"},
		{Module: host, Name: "config_get", Params: []Param{{"key", "i32"}, {"keylen", "i32"}, {"out", "i32"},
			{"room", "i32"}}, Result: "i32",
			Doc: "writes as much of the value as there is room for and returns its whole length; " +
				"`0xffffffff` if the key, at most 64 bytes, is not configured"},
		{Module: host, Name: "counter_add", Params: []Param{{"name", "i32"}, {"namelen", "i32"}, {"delta", "i64"}},
			Doc: "adds to a counter; 64 names of at most 64 bytes"},
	}, wasi()...)
}

// wasi are the calls that the runtimes of Go, TinyGo, Rust and AssemblyScript want before they run.
func wasi() []Func {
	const (
		module  = "wasi_snapshot_preview1"
		nothing = "nothing is there"
		closed  = "nothing is open but the standard three"
	)
	call := func(name, doc string, params ...string) Func {
		f := Func{Module: module, Name: name, Result: "i32", Doc: doc}
		for _, p := range params {
			f.Params = append(f.Params, Param{Type: p})
		}
		return f
	}
	exit := call("proc_exit", "ends the instance; the call counts as failed", "i32")
	exit.Result = ""
	return []Func{
		call("args_get", nothing, "i32", "i32"),
		call("args_sizes_get", nothing, "i32", "i32"),
		call("environ_get", nothing, "i32", "i32"),
		call("environ_sizes_get", nothing, "i32", "i32"),
		call("clock_time_get", "real time: the cell's time of the batch's first record; monotonic: always 1", "i32", "i64",
			"i32"),
		call("random_get", "the same bytes in every call", "i32", "i32"),
		call("fd_write", "standard error, 2 KiB a call, goes to the node's log; standard output is dropped", "i32", "i32",
			"i32", "i32"),
		call("fd_read", closed, "i32", "i32", "i32", "i32"),
		call("fd_close", closed, "i32"),
		call("fd_seek", closed, "i32", "i64", "i32", "i32"),
		call("fd_fdstat_get", closed, "i32", "i32"),
		call("fd_fdstat_set_flags", closed, "i32", "i32"),
		call("fd_prestat_get", closed, "i32", "i32"),
		call("fd_prestat_dir_name", closed, "i32", "i32", "i32"),
		call("poll_oneoff", "returns at once", "i32", "i32", "i32", "i32"),
		call("sched_yield", "returns at once"),
		exit,
	}
}
