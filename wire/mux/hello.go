package mux

import (
	"context"
	"errors"
	"fmt"

	"github.com/datanode/datanode/wire"
)

// What is used at most of the windows that a peer offers. Small chunks are copied to be sent, and so a
// peer that offers much and reads nothing would be offering this side's memory.
const (
	maxPeerWindowBytes  = 16 << 20
	maxPeerSessionBytes = 64 << 20
)

// greet exchanges hellos. The dialing side speaks first, so that it works on a connection without
// buffers too; both sides always send, so that each can say why it will not talk to the other.
func (c *Conn) greet(ctx context.Context) error {
	abort := func() { _ = c.nc.Close() } // ends the reads and writes below
	stopTimer := c.cfg.Clock.AfterFunc(c.cfg.HelloTimeout, abort)
	stopCtx := context.AfterFunc(ctx, abort)
	err := c.exchangeHellos()
	inTime, wanted := stopTimer(), stopCtx()
	switch {
	case !wanted:
		return &causedError{wire.Errorf(0, wire.CodeCancelled, "hello with %s: %v", c.nc.RemoteAddr(), ctx.Err()), ctx.Err()}
	case !inTime:
		return wire.Errorf(0, wire.CodeDeadline, "no hello from %s within %s", c.nc.RemoteAddr(), c.cfg.HelloTimeout)
	case err != nil && wire.CodeOf(err) == 0:
		return &causedError{wire.Errorf(0, wire.CodeConnection, "hello with %s: %v", c.nc.RemoteAddr(), err), err}
	}
	return err
}

func (c *Conn) exchangeHellos() error {
	if c.dialed {
		if err := c.writeHello(); err != nil {
			return errors.Join(err, c.readHello()) // the peer may have said why it hung up
		}
		if err := c.readHello(); err != nil {
			return err
		}
		return c.judgePeer()
	}
	if err := c.readHello(); err != nil {
		return err
	}
	verdict := c.judgePeer()
	if err := c.writeHello(); verdict == nil {
		return err
	}
	return verdict
}

func (c *Conn) writeHello() error {
	body, err := wire.Marshal(&c.cfg.Hello)
	if err != nil {
		return err
	}
	var buf []byte
	if c.dialed {
		buf = append(buf, wire.PreambleFrames)
	}
	buf = wire.AppendFrame(buf, &wire.Header{Kind: wire.KindHello}, body, nil)
	n, err := c.nc.Write(buf)
	c.counts.bytesOut.Add(uint64(n))
	c.counts.framesOut.Add(1)
	return err
}

func (c *Conn) readHello() error {
	in, err := c.readFrame(wire.MaxHelloBytes)
	if err != nil {
		return err
	}
	defer in.release(c)
	if in.Kind != wire.KindHello {
		err := fault("peer began with %s, want a hello", in.Header)
		return &causedError{wire.Errorf(0, wire.CodeProtocol, "%v", err), err}
	}
	if err := wire.Unmarshal(in.Body, &c.peer); err != nil {
		err = fault("hello from %s: %w", c.nc.RemoteAddr(), err)
		return &causedError{wire.Errorf(0, wire.CodeProtocol, "%v", err), err}
	}
	return nil
}

func (c *Conn) judgePeer() error {
	agreed, err := wire.Negotiate(&c.cfg.Hello, &c.peer)
	if err != nil {
		return err
	}
	c.agreed = agreed
	c.peer.WindowBytes = min(c.peer.WindowBytes, maxPeerWindowBytes)
	c.peer.SessionWindowBytes = min(c.peer.SessionWindowBytes, maxPeerSessionBytes)
	if want := c.cfg.ExpectCell; want != "" && c.peer.Cell != want {
		return wire.Errorf(0, wire.CodeWrongCell, "%s is of cell %q, want %q", c.nc.RemoteAddr(), c.peer.Cell, want)
	}
	if want := c.cfg.ExpectNode; want != "" && c.peer.Node != want {
		return wire.Errorf(0, wire.CodeWrongCell, "%s is node %q, want %q", c.nc.RemoteAddr(), c.peer.Node, want)
	}
	return nil
}

// causedError is an *wire.Error with its cause, such as the end of the caller's own context.
type causedError struct {
	typed *wire.Error
	cause error
}

func (e *causedError) Error() string   { return e.typed.Error() }
func (e *causedError) Unwrap() []error { return []error{e.typed, e.cause} }

// ctxError is the error of a call that its own caller gave up.
func ctxError(op wire.OpType, outcome wire.Outcome, cause error) error {
	code := wire.CodeCancelled
	if errors.Is(cause, context.DeadlineExceeded) {
		code = wire.CodeDeadline
	}
	return &causedError{&wire.Error{Op: op, Code: code, Outcome: outcome, Detail: cause.Error()}, cause}
}

// connError is the error of a call whose connection ended.
func connError(op wire.OpType, outcome wire.Outcome, peer string, cause error) *wire.Error {
	return &wire.Error{Op: op, Code: wire.CodeConnection, Outcome: outcome,
		Detail: fmt.Sprintf("connection with %q: %v", peer, cause)}
}
