package plugins

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/datanode/datanode/plugins/meter"
	"github.com/datanode/datanode/policies"
)

const (
	inBytes  = headerBytes + batchMost*pairBytes
	outBytes = batchMost * answerBytes
	// maxDetailBytes of what a guest can make an error say.
	maxDetailBytes = 300
)

// instance is a running guest. It is owned by the call that acquired it; by the goroutine of its
// last call once that was given up.
type instance struct {
	module *Module
	guest  api.Module
	left   api.MutableGlobal // of the budget of the call that runs, an int64
	in     uint32            // where the guest reads batches, inBytes long
	out    uint32            // where it writes answers, outBytes long
	env    environment
	budget policies.Budget         // that the present call is held to
	funcs  map[string]api.Function // by export; each has a stack of its own that is reused

	lane *lane // makes the calls
	// givenUp says that a call was left running: nothing here may be touched before the lane has ended.
	givenUp bool
	started uint64 // what starting has cost
	dearest uint64 // the most that one of the calls has cost which started it
}

// start makes an instance: WASI's reactor start, policy_init with the configuration, and room for
// one batch and its answers, which is kept for the life of the instance. The caller holds a slot, and
// retires the instance in the end, also when this fails.
func (m *Module) start(ctx context.Context, e *engine, b policies.Budget) (*instance, error) {
	inst := &instance{module: m, budget: b, funcs: map[string]api.Function{}}
	inst.lane = newLane(context.WithValue(context.Background(), instanceKey{}, inst))
	return inst, inst.run(ctx, e)
}

func (i *instance) run(ctx context.Context, e *engine) (err error) {
	m := i.module
	i.env.begin(m, 0)
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	if i.guest, err = e.runtime.InstantiateModule(ctx, e.compiled, config); err != nil {
		return m.failed("instantiate", Trapped, firstLine(err))
	}
	left, ok := i.guest.ExportedGlobal(meter.Export).(api.MutableGlobal)
	if !ok {
		return m.failed("instantiate", Trapped, "it does not count its work") // cannot be: it was metered
	}
	i.left = left
	if m.layout.initialize {
		if _, err := i.prepare(ctx, exportInitialize); err != nil {
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
		return m.failed(exportAlloc, BadPointer, fmt.Sprintf("%d bytes at %#x and %d bytes at %#x overlap", inBytes, i.in,
			outBytes, i.out))
	}
	return nil
}

// prepare makes one of the calls that come before the first batch.
func (i *instance) prepare(ctx context.Context, export string, args ...uint64) (uint64, error) {
	result, cost, err := i.call(ctx, i.budget.Start, startTimes*i.module.host.opts.Timeout, export, args...)
	i.started += cost
	i.dearest = max(i.dearest, cost)
	return result, err
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
	_, err = i.prepare(ctx, exportInit, uint64(at), uint64(len(text)))
	return err
}

// alloc asks the guest for n bytes, aligned to 8, that stay where they are.
func (i *instance) alloc(ctx context.Context, n uint32) (uint32, error) {
	result, err := i.prepare(ctx, exportAlloc, uint64(n))
	if err != nil {
		return 0, err
	}
	at, size := uint32(result), i.guest.Memory().Size()
	if at == 0 || at%8 != 0 || uint64(at)+uint64(n) > uint64(size) {
		return 0, i.module.failed(exportAlloc, BadPointer,
			fmt.Sprintf("%d bytes at %#x in a memory of %#x, want them inside, not at 0 and aligned to 8", n, at, size))
	}
	return at, nil
}

// askScores has facts scored and gives the cost; len(out) == len(facts) <= batchMost.
func (i *instance) askScores(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	batch := i.room(i.in, headerBytes+len(facts)*factsBytes)
	batch = appendHeader(batch, scoreHeader(len(facts)))
	putFacts(batch[headerBytes:headerBytes+len(facts)*factsBytes], facts)
	answers, cost, err := i.ask(ctx, exportScore, len(facts), facts[0].NowMicros)
	if err != nil {
		return cost, err
	}
	if err := takeScores(out, answers, len(i.module.info.Reasons)); err != nil {
		return cost, i.module.failed(exportScore, BadAnswer, err.Error())
	}
	return cost, nil
}

// askResolutions has pairs resolved and gives the cost; len(out) == len(pairs) <= batchMost.
func (i *instance) askResolutions(ctx context.Context, pairs []policies.Pair, out []policies.Resolution) (uint64,
	error) {
	batch := i.room(i.in, headerBytes+len(pairs)*pairBytes)
	batch = appendHeader(batch, conflictHeader(len(pairs)))
	for n := range pairs {
		batch = AppendPair(batch, &pairs[n])
	}
	answers, cost, err := i.ask(ctx, exportConflict, len(pairs), pairs[0].Incoming.NowMicros)
	for n := 0; n < len(out) && err == nil; n++ {
		if answers, out[n], err = ParseResolution(answers); err == nil {
			err = checkReason(out[n].Reason, len(i.module.info.Reasons))
		}
		if err != nil {
			err = i.module.failed(exportConflict, BadAnswer, fmt.Sprintf("answer %d: %v", n, err))
		}
	}
	return cost, err
}

// room is n bytes of the guest's memory from at on, to be appended to in place. What is there once, stays:
// memory only grows.
func (i *instance) room(at uint32, n int) []byte {
	bytes, _ := i.guest.Memory().Read(at, uint32(n)) // alloc has checked the range
	return bytes[:0]
}

// ask has the batch at i.in answered and gives the answers, as a view of the guest's memory, and what they
// cost. The room for them is cleared before, so that the last batch's are never taken for this one's.
func (i *instance) ask(ctx context.Context, export string, n int, nowMicros int64) ([]byte, uint64, error) {
	i.env.begin(i.module, nowMicros)
	clear(i.room(i.out, n*answerBytes)[:n*answerBytes])
	written, cost, err := i.call(ctx, ofCall(i.budget, n), i.module.host.opts.Timeout, export,
		uint64(i.in), uint64(n), uint64(i.out))
	if !i.givenUp {
		i.env.end()
	}
	if err != nil {
		return nil, 0, err
	}
	if uint32(written) != uint32(n) {
		return nil, 0, i.module.failed(export, BadCount, fmt.Sprintf("%d answers, want %d", uint32(written), n))
	}
	return i.room(i.out, n*answerBytes)[:n*answerBytes], cost, nil // the call may have moved the memory
}

// close frees an instance that runs nothing.
func (i *instance) close() {
	i.lane.close()
	if i.guest != nil {
		i.guest.Close(context.Background()) // its exit code is of no interest any more
	}
}
