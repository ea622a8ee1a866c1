package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Unreachable is why a call could not be made at all: not one of the addresses it may go to could be connected to.
// Its fields say what can be done about that.
type Unreachable struct {
	Err *wire.Error // CodeUnavailable, not done; its detail names each address and what came of it

	Addr   string // the one address that this call is for; empty: any of the cell's
	Silent bool   // at some address nothing listens, or nothing answers
	HungUp bool   // at some, a connection was taken and closed without a word
	TLS    bool   // the client showed a certificate
}

func (u *Unreachable) Error() string { return u.Err.Error() }
func (u *Unreachable) Unwrap() error { return u.Err }

// notConnected is a failure before anything was sent.
type notConnected struct{ cause error }

func (e *notConnected) Error() string { return dialText(e.cause) }
func (e *notConnected) Unwrap() error { return e.cause }

// verdict is the code of a failure that is the other side's answer: it speaks another version, or it is no node, or
// not of this cell. Asking again would bring the same. 0: it is none.
func (e *notConnected) verdict() wire.Code {
	code := wire.CodeOf(e.cause)
	switch {
	case code == wire.CodeProtocol, code == wire.CodeWrongCell:
		return code
	case mux.AtFault(e.cause):
		return wire.CodeProtocol
	}
	return 0
}

// silent reports whether nothing took the connection.
func (e *notConnected) silent() bool {
	op := (*net.OpError)(nil)
	return errors.Is(e.cause, context.DeadlineExceeded) || errors.As(e.cause, &op) && op.Op == "dial" && !e.hungUp()
}

// hungUp reports whether a connection was taken, and closed without a word: also without one about certificates.
func (e *notConnected) hungUp() bool {
	op := (*net.OpError)(nil)
	if errors.As(e.cause, &op) && op.Op == "remote error" {
		return false // so crypto/tls calls what the other side sends when it refuses
	}
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(e.cause, gone) {
			return true
		}
	}
	return wire.CodeOf(e.cause) == wire.CodeConnection && !mux.AtFault(e.cause)
}

// slowDial is the end of the time for one connection.
type slowDial struct{ limit time.Duration }

func (s slowDial) Error() string { return fmt.Sprintf("no connection within %s", s.limit) }
func (slowDial) Unwrap() error   { return context.DeadlineExceeded }

// dialText is why a connection was not made, without what the reader knows: "dial tcp 127.0.0.1:7400:".
func dialText(err error) string {
	if slow := (slowDial{}); errors.As(err, &slow) {
		return slow.Error()
	}
	e := (*wire.Error)(nil)
	if errors.As(err, &e) && mux.AtFault(err) && e.Code != wire.CodeProtocol {
		return "what listens there is no datanode: " + e.Detail
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	if call := (*os.SyscallError)(nil); errors.As(err, &call) {
		err = call.Err
	}
	switch {
	case errors.As(err, &e):
		return e.Detail
	case errors.Is(err, context.DeadlineExceeded):
		return "no connection in time"
	}
	return err.Error()
}
