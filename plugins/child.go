package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/datanode/datanode/policies"
)

// The child process compiles a module and tries it, so that the node does not have to: a compiler
// that blows up takes the child with it and nothing else. It is this program again, told by its
// arguments to call ChildMain. It reads
//
//	one line of JSON, an errand; the module
//
// from its standard input, puts the module through the gate, writes what it has compiled into the
// folder of the cache, answers a greeting and one verdict on its standard output, as JSON, and ends. Of
// the limits it sets itself, see limits_linux.go; the parent sets one more, by the wall clock.
type errand struct {
	CacheDir    string            `json:"cache_dir"`
	MemoryPages uint32            `json:"memory_pages"`
	Budget      policies.Budget   `json:"budget"`
	Timeout     time.Duration     `json:"timeout"`
	Config      map[string]string `json:"config"`
	ModuleBytes int               `json:"module_bytes"`
	Limits      limits            `json:"limits"`
}

// verdict is what a child answers. Exactly one of Report, Refused and Failed is set.
type verdict struct {
	Report  *Report    `json:"report,omitempty"`
	Refused *LoadError `json:"refused,omitempty"`
	Failed  string     `json:"failed,omitempty"` // not the module's fault

	PeakBytes int64  `json:"peak_bytes"`          // resident; 0 if the system does not tell
	Processor int64  `json:"processor_ns"`        // as PeakBytes
	Unlimited string `json:"unlimited,omitempty"` // why the limits could not be set
}

// limits of a child.
type limits struct {
	Data      uint64        `json:"data"`      // bytes that its private memory may grow by
	Processor time.Duration `json:"processor"` // time on all processors together
}

const (
	mib = 1 << 20

	// A Go guest of 2.8 MB takes 90 MiB to be compiled and interpreted, most of it the compiler's, and
	// the stacks of a few threads count in full. Calls without end take 200 MiB before the engine ends them.
	childData        = 208 * mib
	childDataPerByte = 4

	// childTimesEffort is how many times the scan's estimate a child may take, beyond what a small module
	// may. A Go guest of 2.8 MB is estimated at 2.8 s and takes 1.6 s of processor time on a machine of
	// today, with its trial in two engines, of the 5.8 s that it has.
	childTimesEffort = 2

	// trialUnitsPerNano of the budgets are given time for: a tight loop spends three units in a nanosecond,
	// and should end for its budget rather than for its time.
	trialUnitsPerNano = 2

	// childPatience is how many times its processor time a child may take by the wall clock, before it is
	// given up. That is a fault of the machine, which is busy, and not of the module: nothing that a module
	// does makes a child wait.
	childPatience = 10

	// greeting is what a child says before it looks at a module: whatever ends a program that has not
	// said it is no fault of the module.
	greeting = "datanode policy child 1\n"

	maxErrandBytes  = 1 << 20
	maxVerdictBytes = 4 << 20
	maxChildStderr  = 64 << 10
)

// limitsFor are the limits for a module: what any needs, and more by the byte and by what the scan
// expects of the compiler. A module that the scan expects little of has little time.
func (o Options) limitsFor(p *prepared) limits {
	trial := o.Budget.Start + ofCall(o.Budget, len(sampleFacts()))
	return limits{
		Data: slow * (childData + childDataPerByte*uint64(len(p.module))),
		Processor: o.ChildTime +
			slow*(childTimesEffort*time.Duration(p.layout.effort)+time.Duration(trial/trialUnitsPerNano)),
	}
}

// inChild has a child compile and try a module. The code is in the cache then.
func (h *Host) inChild(ctx context.Context, p *prepared, config map[string]string) (*Report, error) {
	e := errand{
		CacheDir: h.cache.root, MemoryPages: h.opts.MemoryPages, Budget: h.opts.Budget, Timeout: h.opts.Timeout,
		Config: config, ModuleBytes: len(p.module), Limits: h.limits(p),
	}
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("plugins: child: %w", err)
	}
	run, cancel := context.WithTimeout(ctx, childPatience*e.Limits.Processor)
	defer cancel()
	cmd := exec.CommandContext(run, h.opts.Child[0], h.opts.Child[1:]...)
	cmd.Env = []string{} // it needs nothing of ours
	cmd.Stdin = io.MultiReader(bytes.NewReader(append(text, '\n')), bytes.NewReader(p.module))
	var out, complaints bounded
	out.most, complaints.most = maxVerdictBytes, maxChildStderr
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("plugins: compile: %w", ctx.Err())
	}
	answer, greeted := bytes.CutPrefix(out.Bytes(), []byte(greeting))
	if !greeted {
		first, _, _ := strings.Cut(complaints.String(), "\n")
		return nil, fmt.Errorf("plugins: child %q does not act as one: %w: %s", h.opts.Child, orNothing(err),
			printable(first))
	}
	v := verdict{}
	judged := json.Unmarshal(answer, &v) == nil
	if !judged {
		v.PeakBytes = peakOf(cmd.ProcessState)
	}
	if h.childEnded != nil {
		h.childEnded(v.PeakBytes)
	}
	if !judged {
		return nil, death(cmd, run, e.Limits, err, complaints.String())
	}
	return h.judged(&v)
}

// judged is what a child's verdict means.
func (h *Host) judged(v *verdict) (*Report, error) {
	if v.Unlimited != "" {
		h.unbounded.Do(func() {
			h.opts.Logger.Warn(
				"policies are compiled in a child process without limits: only the structural scan bounds what that takes",
				"reason", v.Unlimited)
		})
	}
	switch {
	case v.Refused != nil:
		return nil, v.Refused
	case v.Report == nil:
		return nil, fmt.Errorf("plugins: child: %s", firstLine(errors.New(v.Failed)))
	}
	v.Report.ChildPeakBytes, v.Report.ChildNanos = v.PeakBytes, v.Processor
	return v.Report, nil
}

// death says what a child died of that gave no verdict.
func death(cmd *exec.Cmd, run context.Context, l limits, err error, complaints string) error {
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	switch {
	case used >= l.Processor:
		return refuse(CompileTime, "compiling and trying it takes more than %v: %s", l.Processor, simplify)
	case run.Err() != nil:
		return fmt.Errorf("plugins: child has had %v of processor time in %v, and is not ready: the machine is too busy",
			used, childPatience*l.Processor)
	case outOfMemory(complaints):
		return refuse(CompileMemory, "compiling and trying it takes more than %d MiB: %s", l.Data/mib, simplify)
	}
	first, _, _ := strings.Cut(complaints, "\n")
	return refuse(CompilerCrashed, "compiling or trying it ended in: %v: %s", err, firstLine(errors.New(first)))
}

// outOfMemory reports whether these are the last words of a program that was given no more memory. A
// thread that cannot be started lacks it for its stack.
func outOfMemory(complaints string) bool {
	for _, words := range []string{"out of memory", "cannot allocate memory", "pthread_create failed",
		"failed to create new OS thread"} {
		if strings.Contains(complaints, words) {
			return true
		}
	}
	return false
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("it ends without a word")
	}
	return err
}

const simplify = "make its functions smaller, with fewer locals and branches"

// bounded keeps the first bytes of what is written to it.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), b.most-b.Len())])
	return len(p), nil
}
