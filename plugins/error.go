package plugins

import "fmt"

// LoadReason says why a module was not accepted. The words are part of the JSON output.
type LoadReason string

const (
	NotWasm              LoadReason = "not-wasm"
	TooLarge             LoadReason = "too-large"
	Malformed            LoadReason = "malformed"
	MissingExport        LoadReason = "missing-export"
	WrongSignature       LoadReason = "wrong-signature"
	ForbiddenImport      LoadReason = "forbidden-import"
	ForbiddenInstruction LoadReason = "forbidden-instruction"
	StartSection         LoadReason = "start-section"
	MemoryTooLarge       LoadReason = "memory-too-large"
	TableTooLarge        LoadReason = "table-too-large"
	TooManyLocals        LoadReason = "too-many-locals"
	NestedTooDeep        LoadReason = "nested-too-deep"
	TooComplex           LoadReason = "too-complex"
	AlreadyMetered       LoadReason = "already-metered"

	// Found while it was compiled.
	NotCompiled     LoadReason = "not-compiled"     // it is not valid
	CompileTime     LoadReason = "compile-time"     // compiling and trying it takes too much processor time
	CompileMemory   LoadReason = "compile-memory"   // or too much memory
	CompilerCrashed LoadReason = "compiler-crashed" // a bug in the compiler, or a machine in trouble

	// Found by the self-test.
	NotStarted      LoadReason = "not-started" // it traps before it can be asked anything
	DescribeInvalid LoadReason = "describe-invalid"
	SelfTestFailed  LoadReason = "self-test-failed" // it traps
	TooSlow         LoadReason = "over-budget"
	TooDeep         LoadReason = "stack-overflow"
	WrongCount      LoadReason = "wrong-count"
	WrongAnswer     LoadReason = "wrong-answer"
	WrongPointer    LoadReason = "wrong-pointer"
	HiddenState     LoadReason = "hidden-state" // it answers from something else than the facts
	EnginesDiffer   LoadReason = "engines-differ"
)

// LoadError is why Compile refused a module: one line that says what was found and what to do.
type LoadError struct {
	Reason LoadReason `json:"reason"`
	Detail string     `json:"detail"`
}

func (e *LoadError) Error() string { return "policy refused (" + string(e.Reason) + "): " + e.Detail }

func refuse(reason LoadReason, format string, args ...any) *LoadError {
	return &LoadError{reason, fmt.Sprintf(format, args...)}
}

// CallCause says how a call of a guest went wrong.
type CallCause string

const (
	Trapped       CallCause = "trap"      // unreachable, out of bounds, exit
	StackOverflow CallCause = "stack"     // a trap too: calls within calls without end
	Overrun       CallCause = "overrun"   // its budget of metered work is spent
	TimedOut      CallCause = "timeout"   // the watchdog gave it up, or an earlier call, which still runs
	Cancelled     CallCause = "cancelled" // the caller gave up before the call, or before its next batch
	BadCount      CallCause = "count"     // it returned with another number of answers than was asked for
	BadAnswer     CallCause = "answer"    // one of the answers is none
	BadPointer    CallCause = "pointer"   // it named bytes outside of its memory
	Closed        CallCause = "closed"    // the module has been closed
)

// loadReasons are what a failed call during the self-test is refused for. What is not named here is for
// the part of the self-test in which it happened.
func (c CallCause) loadReason(part LoadReason) LoadReason {
	switch c {
	case Overrun, TimedOut:
		return TooSlow
	case StackOverflow:
		return TooDeep
	case BadCount:
		return WrongCount
	case BadAnswer:
		return WrongAnswer
	case BadPointer:
		return WrongPointer
	}
	return part
}

// CallError is a call that a guest did not answer. The instance is gone; the next call gets another.
type CallError struct {
	Policy string // Info.Name
	Call   string // the export that was called
	Cause  CallCause
	Detail string
}

func (e *CallError) Error() string {
	return fmt.Sprintf("policy %s: %s: %s: %s", e.Policy, e.Call, e.Cause, e.Detail)
}
