// Package exit is how a command ends: its exit code, and the error that says why. It has no goroutines, and its values
// are not changed once they are made.
package exit

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// The exit codes. They are a contract: never changed, only appended.
const (
	Done        = 0
	Failed      = 1
	Usage       = 2
	NotFound    = 3
	Refused     = 4 // conflict, envelope, precondition
	Unavailable = 5 // no leader, no quorum, no node
	Corrupt     = 6
	Interrupted = 130
)

// Error is an error that knows its exit code.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func With(code int, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// Usagef is an error of whoever typed the command.
func Usagef(format string, args ...any) error { return With(Usage, format, args...) }

// Code is the one place where errors become exit codes.
func Code(ctx context.Context, err error) int {
	if err == nil {
		return Done
	}
	if coded := (*Error)(nil); errors.As(err, &coded) {
		return coded.Code
	}
	if refused := (*plugins.LoadError)(nil); errors.As(err, &refused) {
		return Refused
	}
	if errors.As(err, new(*raftlog.CorruptError)) || errors.As(err, new(*raftlog.PartedError)) {
		return Corrupt
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return Interrupted
	}
	switch wire.CodeOf(err) {
	case wire.CodeInvalid:
		return Usage
	case wire.CodeNotFound:
		return NotFound
	case wire.CodeConflict, wire.CodePrecondition, wire.CodeEnvelope, wire.CodeStaleFence, wire.CodeNotRunning,
		wire.CodeNoSpace, wire.CodeWrongCell, wire.CodeDenied, wire.CodeQuota:
		return Refused
	case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline, wire.CodeExhausted:
		return Unavailable
	case wire.CodeCorrupt, wire.CodeParted:
		return Corrupt
	}
	return Failed
}

// Explain says what to do where the error itself cannot know it.
func Explain(ctx context.Context, err error) string {
	coded, away := (*Error)(nil), (*client.Unreachable)(nil)
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
		advice = "; check that a node is running there, or name other addresses with --addr; " +
			"datanode dev starts a cell on this machine"
	}
	switch {
	case u.HungUp && u.TLS:
		advice += "; a node hangs up on TLS when it has no certificate, and on more connections than it takes " +
			"from one address"
	case u.HungUp:
		advice += "; a node hangs up on callers without --tls-cert, --tls-key and --tls-ca when it speaks TLS only, " +
			"and on more connections than it takes from one address"
	}
	return advice
}

// File is an error of the system about a file, with the code that it is worth.
func File(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return With(NotFound, "%w", err)
	}
	return err
}
