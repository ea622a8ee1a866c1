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
	NotCompiled          LoadReason = "not-compiled"
	NotStarted           LoadReason = "not-started"
	DescribeInvalid      LoadReason = "describe-invalid"
	SelfTestFailed       LoadReason = "self-test-failed"
)

// LoadError is why Compile refused a module: one line that says what was found and what to do.
type LoadError struct {
	Reason LoadReason
	Detail string
}

func (e *LoadError) Error() string { return "policy refused (" + string(e.Reason) + "): " + e.Detail }

func refuse(reason LoadReason, format string, args ...any) *LoadError {
	return &LoadError{reason, fmt.Sprintf(format, args...)}
}

// CallCause says how a call of a guest went wrong.
type CallCause string

const (
	Trapped   CallCause = "trap"      // unreachable, out of bounds, exit, stack overflow
	TimedOut  CallCause = "timeout"   // the watchdog ended it
	Cancelled CallCause = "cancelled" // the caller gave up
	BadAnswer CallCause = "answer"    // it returned, with an answer that is none
	Closed    CallCause = "closed"    // the module has been closed
)

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
