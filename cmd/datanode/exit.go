package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
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
	if errors.As(err, new(*raftlog.CorruptError)) || errors.As(err, new(*raftlog.PartedError)) {
		return exitCorrupt
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
		wire.CodeNoSpace, wire.CodeWrongCell, wire.CodeDenied, wire.CodeQuota:
		return exitRefused
	case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline, wire.CodeExhausted:
		return exitUnavailable
	case wire.CodeCorrupt, wire.CodeParted:
		return exitCorrupt
	}
	return exitFailed
}

// explainError says what to do where the error itself cannot know it.
func explainError(ctx context.Context, err error) string {
	coded, away := (*codedError)(nil), (*client.Unreachable)(nil)
	switch {
	case errors.As(err, &away):
		return err.Error() + adviceFor(away)
	case errors.As(err, &coded):
		return err.Error()
	case errors.Is(ctx.Err(), context.Canceled):
		return "interrupted"
	case wire.CodeOf(err) == wire.CodeDeadline:
		return err.Error() + "; the node did not answer in time"
	}
	return err.Error()
}

// adviceFor is what to do when no node could be connected to.
func adviceFor(u *client.Unreachable) string {
	var advice string
	switch {
	case u.Silent && u.Addr != "":
		advice = "; check that it runs; node ls tells what the cell knows of it"
	case u.Silent:
		advice = "; check that a node is running there, or name other addresses with --addr; datanode dev starts a cell on this machine"
	}
	switch {
	case u.HungUp && u.TLS:
		advice += "; a node hangs up on TLS when it has no certificate, and on more connections than it takes from one address"
	case u.HungUp:
		advice += "; a node hangs up on callers without --tls-cert, --tls-key and --tls-ca when it speaks TLS only, and on more connections than it takes from one address"
	}
	return advice
}
