package plugins

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// call runs one export within a budget of metered work and gives its result, 0 without one, and what
// it cost.
//
// The budget ends a call that never would, at the same instruction everywhere. Behind it stands a
// watchdog by the wall clock, should the metering or the machine fail us. It can do no more than stop
// waiting: the engine's own way to end a guest is a look at its context at each loop head, which takes
// half of a batch (BenchmarkScore: 19 µs instead of 11) and was all there was before modules were
// metered. So calls run in the instance's lane, which is left behind with it when the watchdog fires. It
// keeps the slot of its instance, so a module never has more than maxInstances of them, and while one has
// outlived the watchdog the module is not asked again: see Module.acquire. A context that has ended keeps
// the next call from beginning; it does not end the wait for this one, which is short enough. Note that Go
// cannot stop a guest's code to collect garbage: what bounds the pause is the budget again, some 20 ms at
// the default.
func (i *instance) call(ctx context.Context, budget uint64, limit time.Duration, export string, args ...uint64) (result,
	cost uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, i.module.failed(export, Cancelled, err.Error())
	}
	in := invocation{function: i.function(export)}
	copy(in.args[:], args)
	i.left.Set(budget)
	o, inTime := i.lane.run(in, limit)
	if !inTime {
		i.givenUp = true
		i.module.stuck.Add(1)
		i.module.host.opts.Logger.Error("policy outlived its watchdog; it is not asked again before it returns",
			"digest", i.module.info.Digest, "call", export, "limit", limit)
		return 0, 0, i.module.failed(export, TimedOut, fmt.Sprintf("not back after %v", limit))
	}
	return i.settle(export, budget, o)
}

// settle makes of a call's end what the caller sees.
func (i *instance) settle(export string, budget uint64, o outcome) (result, cost uint64, err error) {
	left := int64(i.left.Get())
	switch {
	case left < 0: // a host function may have taken the last of it, and the guest returned after that
		return 0, 0, i.module.failed(export, Overrun, fmt.Sprintf("its budget of %d units is spent (%s)", budget,
			settingsOf(export)))
	case o.err != nil:
		return 0, 0, i.module.failed(export, causeOf(o.err), firstLine(o.err)+i.env.lastWords())
	}
	return o.result, budget - uint64(left), nil
}

func causeOf(err error) CallCause {
	if strings.Contains(firstLine(err), "stack overflow") { // wazero exports no name for it
		return StackOverflow
	}
	return Trapped
}

// charge takes units off the budget of the call that runs, and reports whether it had as many.
func (i *instance) charge(units uint64) bool {
	left := int64(i.left.Get()) - int64(units)
	i.left.Set(uint64(left))
	return left >= 0
}

func (i *instance) function(export string) api.Function {
	f, ok := i.funcs[export]
	if !ok {
		f = i.guest.ExportedFunction(export)
		i.funcs[export] = f
	}
	return f
}

// firstLine is the part of an error before the guest's stack trace.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return printable(line[:min(len(line), maxDetailBytes)])
}
