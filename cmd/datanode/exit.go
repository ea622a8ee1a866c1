package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/wire"
)

// The exit codes. They are a contract: never changed, only appended.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4 // conflict, envelope, precondition
	exitUnavailable = 5 // no leader, no quorum, no node
	exitCorrupt     = 6
	exitInterrupted = 130
)

// codedError is an error that knows its exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func withCode(code int, format string, args ...any) error {
	return &codedError{code, fmt.Errorf(format, args...)}
}

// usagef is an error of whoever typed the command.
func usagef(format string, args ...any) error { return withCode(exitUsage, format, args...) }

// exitCode is the one place where errors become exit codes.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	if coded := (*codedError)(nil); errors.As(err, &coded) {
		return coded.code
	}
	if refused := (*plugins.LoadError)(nil); errors.As(err, &refused) {
		return exitRefused
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return exitInterrupted
	}
	switch wire.CodeOf(err) {
	case wire.CodeInvalid:
		return exitUsage
	case wire.CodeNotFound:
		return exitNotFound
	case wire.CodeConflict, wire.CodePrecondition, wire.CodeEnvelope, wire.CodeStaleFence, wire.CodeNotRunning,
		wire.CodeNoSpace, wire.CodeWrongCell, wire.CodeDenied:
		return exitRefused
	case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline, wire.CodeExhausted:
		return exitUnavailable
	case wire.CodeCorrupt:
		return exitCorrupt
	}
	return exitFailed
}

// explainError says what to do where the error itself cannot know it.
func explainError(ctx context.Context, err error) string {
	coded := (*codedError)(nil)
	switch {
	case errors.As(err, &coded):
		return err.Error()
	case errors.Is(ctx.Err(), context.Canceled):
		return "interrupted"
	case wire.CodeOf(err) == wire.CodeUnavailable && strings.Contains(err.Error(), "reset by peer"):
		return err.Error() + " with --addr; a node that speaks TLS only wants --tls-cert, --tls-key and --tls-ca"
	case wire.CodeOf(err) == wire.CodeUnavailable && strings.Contains(err.Error(), "could be reached"):
		return err.Error() + " with --addr; datanode dev starts a cell on this machine"
	case wire.CodeOf(err) == wire.CodeDeadline:
		return err.Error() + "; the node did not answer in time"
	}
	return err.Error()
}
