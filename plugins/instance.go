package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

const (
	inBytes  = headerBytes + batchMost*pairBytes
	outBytes = batchMost * answerBytes
	// maxDetailBytes of what a guest can make an error say.
	maxDetailBytes = 300
)

// instance is a running guest. It is owned by the call that acquired it.
type instance struct {
	module *Module
	guest  api.Module
	in     uint32 // where the guest reads batches, inBytes long
	out    uint32 // where it writes answers, outBytes long
	env    environment
	batch  []byte                  // reused from call to call
	funcs  map[string]api.Function // by export; each has a stack of its own that is reused
}

// start makes an instance: WASI's reactor start, policy_init with the configuration, and room for
// one batch and its answers, which is kept for the life of the instance.
func (m *Module) start(ctx context.Context) (*instance, error) {
	inst := &instance{module: m, batch: make([]byte, 0, inBytes), funcs: map[string]api.Function{}}
	if err := inst.run(ctx); err != nil {
		inst.close(ctx)
		return nil, err
	}
	return inst, nil
}

func (i *instance) run(ctx context.Context) (err error) {
	m := i.module
	limit := startTimes * m.host.opts.Timeout
	start, cancel := context.WithTimeout(context.WithValue(ctx, instanceKey{}, i), limit)
	defer cancel()
	i.env.begin(m, 0)
	config := i.env.configure(wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if i.guest, err = m.host.runtime.InstantiateModule(start, m.compiled, config); err != nil {
		return m.failed("instantiate", Trapped, firstLine(err))
	}
	if m.layout.initialize {
		if _, err := i.call(ctx, limit, exportInitialize); err != nil {
			return err
		}
	}
	if m.layout.init {
		if err := i.configure(ctx); err != nil {
			return err
		}
	}
	if i.in, err = i.alloc(ctx, inBytes); err != nil {
		return err
	}
	if i.out, err = i.alloc(ctx, outBytes); err != nil {
		return err
	}
	if uint64(i.in) < uint64(i.out)+outBytes && uint64(i.out) < uint64(i.in)+inBytes {
		return m.failed(exportAlloc, BadAnswer, fmt.Sprintf("%d bytes at %#x and %d bytes at %#x overlap", inBytes, i.in, outBytes, i.out))
	}
	return nil
}

// configure hands the configuration to the guest, as a JSON object with sorted keys.
func (i *instance) configure(ctx context.Context) error {
	config := i.module.config
	if config == nil {
		config = map[string]string{}
	}
	text, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("plugins: config: %w", err)
	}
	at, err := i.alloc(ctx, uint32(len(text)))
	if err != nil {
		return err
	}
	i.guest.Memory().Write(at, text) // alloc has checked the range
	_, err = i.call(ctx, startTimes*i.module.host.opts.Timeout, exportInit, uint64(at), uint64(len(text)))
	return err
}

// alloc asks the guest for n bytes, aligned to 8, that stay where they are.
func (i *instance) alloc(ctx context.Context, n uint32) (uint32, error) {
	result, err := i.call(ctx, i.module.host.opts.Timeout, exportAlloc, uint64(n))
	if err != nil {
		return 0, err
	}
	at, size := uint32(result), i.guest.Memory().Size()
	if at == 0 || at%8 != 0 || uint64(at)+uint64(n) > uint64(size) {
		return 0, i.module.failed(exportAlloc, BadAnswer,
			fmt.Sprintf("%d bytes at %#x in a memory of %#x, want them inside, not at 0 and aligned to 8", n, at, size))
	}
	return at, nil
}

// askScores has facts scored; len(out) == len(facts) <= batchMost.
func (i *instance) askScores(ctx context.Context, facts []policies.Facts, out []policies.Score) error {
	i.batch = appendHeader(i.batch[:0], scoreHeader(len(facts)))
	for n := range facts {
		i.batch = AppendFacts(i.batch, &facts[n])
	}
	answers, err := i.ask(ctx, exportScore, len(facts), facts[0].NowMicros)
	for n := 0; n < len(out) && err == nil; n++ {
		if answers, out[n], err = ParseScore(answers); err != nil {
			err = i.module.failed(exportScore, BadAnswer, fmt.Sprintf("answer %d: %v", n, err))
		}
	}
	return err
}

// askResolutions has pairs resolved; len(out) == len(pairs) <= batchMost.
func (i *instance) askResolutions(ctx context.Context, pairs []policies.Pair, out []policies.Resolution) error {
	i.batch = appendHeader(i.batch[:0], conflictHeader(len(pairs)))
	for n := range pairs {
		i.batch = AppendPair(i.batch, &pairs[n])
	}
	answers, err := i.ask(ctx, exportConflict, len(pairs), pairs[0].Incoming.NowMicros)
	for n := 0; n < len(out) && err == nil; n++ {
		if answers, out[n], err = ParseResolution(answers); err != nil {
			err = i.module.failed(exportConflict, BadAnswer, fmt.Sprintf("answer %d: %v", n, err))
		}
	}
	return err
}

// ask hands over i.batch and gives the answers, as a view of the guest's memory. The room for them
// is cleared before, so that the answers of the last batch are never taken for this one's.
func (i *instance) ask(ctx context.Context, export string, n int, nowMicros int64) ([]byte, error) {
	i.env.begin(i.module, nowMicros)
	defer i.env.end()
	memory := i.guest.Memory()
	answers, ok := memory.Read(i.out, uint32(n*answerBytes))
	if !ok || !memory.Write(i.in, i.batch) {
		return nil, i.module.failed(export, BadAnswer, "its memory has shrunk") // cannot be: wasm memory only grows
	}
	clear(answers)
	written, err := i.call(ctx, i.module.host.opts.Timeout, export, uint64(i.in), uint64(n), uint64(i.out))
	if err != nil {
		return nil, err
	}
	if uint32(written) != uint32(n) {
		return nil, i.module.failed(export, BadAnswer, fmt.Sprintf("%d answers, want %d", uint32(written), n))
	}
	answers, _ = memory.Read(i.out, uint32(n*answerBytes)) // the call may have moved the memory
	return answers, nil
}

// call runs one export under the watchdog. It gives 0 for a function without result.
func (i *instance) call(ctx context.Context, limit time.Duration, export string, args ...uint64) (uint64, error) {
	running, cancel := context.WithTimeout(context.WithValue(ctx, instanceKey{}, i), limit)
	defer cancel()
	results, err := i.function(export).Call(running, args...)
	if err != nil {
		return 0, i.failure(ctx, export, err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
}

func (i *instance) function(export string) api.Function {
	f, ok := i.funcs[export]
	if !ok {
		f = i.guest.ExportedFunction(export)
		i.funcs[export] = f
	}
	return f
}

func (i *instance) failure(ctx context.Context, export string, err error) *CallError {
	if ctx.Err() != nil {
		return i.module.failed(export, Cancelled, ctx.Err().Error())
	}
	if exit := (*sys.ExitError)(nil); errors.As(err, &exit) {
		if code := exit.ExitCode(); code == sys.ExitCodeDeadlineExceeded {
			return i.module.failed(export, TimedOut, fmt.Sprintf("ended after %v", i.module.host.opts.Timeout))
		}
	}
	return i.module.failed(export, Trapped, firstLine(err)+i.env.lastWords())
}

func (i *instance) close(ctx context.Context) {
	if i.guest != nil {
		i.guest.Close(context.WithoutCancel(ctx)) // its exit code is of no interest any more
	}
}

// firstLine is the part of an error before the guest's stack trace.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return printable(line[:min(len(line), maxDetailBytes)])
}
