package plugins

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// ChildMain is all that the program of Options.Child does. It gives the exit code, if it comes to
// that: when its processor time is up, the process ends at once.
func ChildMain(in io.Reader, out io.Writer) int {
	if _, err := io.WriteString(out, greeting); err != nil {
		return 1
	}
	a := &answering{out: out}
	v := a.serve(bufio.NewReaderSize(in, maxErrandBytes))
	if !a.answer(v) {
		return 1
	}
	return 0
}

// answering sees to it that a child gives one verdict.
type answering struct {
	once      sync.Once
	out       io.Writer
	unlimited string
}

func (a *answering) answer(v *verdict) (ok bool) {
	a.once.Do(func() {
		v.PeakBytes, v.Processor, v.Unlimited = peakBytes(), int64(processorTime()), a.unlimited
		text, err := json.Marshal(v)
		if err == nil {
			_, err = a.out.Write(text)
		}
		ok = err == nil
	})
	return ok
}

func (a *answering) serve(in *bufio.Reader) *verdict {
	e, module, err := readErrand(in)
	if err != nil {
		return &verdict{Failed: err.Error()}
	}
	runtime.GOMAXPROCS(max(2, min(runtime.GOMAXPROCS(0), maxCompilers))) // one for watch, at the least
	if err := e.Limits.set(); err != nil {
		a.unlimited = err.Error()
	}
	debug.SetMemoryLimit(int64(e.Limits.Data / 4 * 3)) // collect garbage before it comes to dying of it
	done := make(chan struct{})
	defer close(done)
	go a.watch(e.Limits.Processor, done)
	report, err := e.run(context.Background(), module, a.unlimited)
	if refused := (*LoadError)(nil); errors.As(err, &refused) {
		if refused.Reason == NotCompiled && outOfMemory(refused.Detail) {
			refused = refuse(CompileMemory, "compiling it takes more than %d MiB: %s", e.Limits.Data/mib, simplify)
		}
		return &verdict{Refused: refused}
	}
	if err != nil {
		return &verdict{Failed: err.Error()}
	}
	return &verdict{Report: report}
}

func readErrand(in *bufio.Reader) (*errand, []byte, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, nil, fmt.Errorf("errand: %w", err)
	}
	e := &errand{}
	if err := json.Unmarshal(line, e); err != nil {
		return nil, nil, fmt.Errorf("errand: %w", err)
	}
	if e.ModuleBytes < 0 || e.ModuleBytes > maxModuleBytes {
		return nil, nil, fmt.Errorf("errand: a module of %d bytes, want 0 to %d", e.ModuleBytes, maxModuleBytes)
	}
	module := make([]byte, e.ModuleBytes)
	if _, err := io.ReadFull(in, module); err != nil {
		return nil, nil, fmt.Errorf("module: %w", err)
	}
	return e, module, nil
}

// run puts the module through the gate in this process.
func (e *errand) run(ctx context.Context, module []byte, unlimited string) (*Report, error) {
	h, err := New(ctx, Options{
		CacheDir: e.CacheDir, MemoryPages: e.MemoryPages, Budget: e.Budget, Timeout: e.Timeout,
		alone: true, unlimited: unlimited,
	})
	if err != nil {
		return nil, err
	}
	m, report, err := h.pass(ctx, module, e.Config)
	if err != nil {
		return nil, err
	}
	return report, m.Close(ctx)
}

// watchEach is how often the processor time is looked at.
const watchEach = 10 * time.Millisecond

// watch ends the process when its processor time is up. The system's own limit counts whole seconds.
func (a *answering) watch(most time.Duration, done <-chan struct{}) {
	tick := time.NewTicker(watchEach)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if processorTime() > most {
			a.answer(&verdict{Refused: refuse(CompileTime, "compiling and trying it takes more than %v: %s", most, simplify)})
			os.Exit(1)
		}
	}
}
