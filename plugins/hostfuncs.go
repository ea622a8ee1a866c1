package plugins

import (
	"context"
	"log/slog"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// hostCallCost is what a guest pays for each call of the host, besides what the metering charges for
// calling anything: the way out of the guest and back takes about 100 ns.
const hostCallCost = 256

// hostFunc is what a guest may call. The result is left away where abiImports says that there is none.
type hostFunc func(i *instance, memory api.Memory, args []uint64) (result uint64)

// hostFuncs are the functions behind the names of abiImports.
func hostFuncs() map[string]map[string]hostFunc {
	funcs := map[string]map[string]hostFunc{
		moduleHost: {"log": hostLog, "config_get": hostConfigGet, "counter_add": hostCounterAdd},
		moduleWASI: {"proc_exit": func(i *instance, memory api.Memory, args []uint64) uint64 {
			procExit(i, memory, args)
			return 0
		}},
	}
	for name, f := range wasiFuncs {
		funcs[moduleWASI][name] = func(i *instance, memory api.Memory,
			args []uint64) uint64 {
			return uint64(f(i, memory, args))
		}
	}
	return funcs
}

// link offers the functions to the guests of a runtime.
func link(ctx context.Context, runtime wazero.Runtime) error {
	for module, funcs := range hostFuncs() {
		builder := runtime.NewHostModuleBuilder(module)
		for name, f := range funcs {
			sig := abiImports[module][name]
			builder.NewFunctionBuilder().
				WithGoModuleFunction(f.callable(sig), []byte(sig.params), []byte(sig.results)).
				Export(name)
		}
		if _, err := builder.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f hostFunc) callable(sig signature) api.GoModuleFunc {
	return func(ctx context.Context, guest api.Module, stack []uint64) {
		i := callerOf(ctx)
		if !i.charge(hostCallCost) {
			return // the guest traps at the next place that counts
		}
		result := f(i, guest.Memory(), stack)
		if len(sig.results) > 0 {
			stack[0] = result
		}
	}
}

// instanceKey is the context key under which a host function finds the instance that calls it.
type instanceKey struct{}

func callerOf(ctx context.Context) *instance { return ctx.Value(instanceKey{}).(*instance) }

// hostLog is datanode.log(ptr, len).
func hostLog(i *instance, memory api.Memory, args []uint64) uint64 {
	text, ok := memory.Read(uint32(args[0]), min(uint32(args[1]), maxLogBytes))
	if i.env.lines++; ok && i.env.lines <= maxLogLines {
		i.env.said = append(i.env.said[:0], text...)
		i.env.log(slog.LevelInfo, "policy says", text)
	}
	return 0
}

// configAbsent is what config_get answers for a key without a value.
const configAbsent = 0xffffffff

// hostConfigGet is datanode.config_get(keyptr, keylen, outptr, outcap) -> len. It writes as much of
// the value as there is room for and answers how long the value is.
func hostConfigGet(i *instance, memory api.Memory, args []uint64) uint64 {
	key, ok := memory.Read(uint32(args[0]), min(uint32(args[1]), maxKeyBytes+1))
	if !ok || len(key) > maxKeyBytes {
		return configAbsent
	}
	value, ok := i.module.config[string(key)]
	room := min(uint64(len(value)), uint64(uint32(args[3])))
	if !ok || !i.charge(room) || !memory.WriteString(uint32(args[2]), value[:room]) {
		return configAbsent
	}
	return uint64(len(value))
}

// hostCounterAdd is datanode.counter_add(nameptr, namelen, delta).
func hostCounterAdd(i *instance, memory api.Memory, args []uint64) uint64 {
	e := &i.env
	name, ok := memory.Read(uint32(args[0]), min(uint32(args[1]), maxKeyBytes+1))
	if !ok || len(name) == 0 || len(name) > maxKeyBytes {
		return 0
	}
	key := printable(string(name))
	if _, known := e.adds[key]; !known && len(e.adds) >= maxCounters {
		return 0
	}
	if e.adds == nil {
		e.adds = map[string]int64{}
	}
	e.adds[key] += int64(args[2])
	return 0
}
