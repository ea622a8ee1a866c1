package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// putAttempts bounds how many extents a small put is tried on. One more than a replica that fails
// can break while it is not yet known to be down.
const putAttempts = openPerTenant + 2

// servePut stores the caller's bytes on all replicas and answers where they are. What fits one
// append shares an extent with other puts; what does not gets an extent of its own.
func (n *Node) servePut(ctx context.Context, c *mux.ServerCall, req wire.PutRequest) error {
	if err := checkClass(c.Op(), req.Class); err != nil {
		return err
	}
	if err := n.hangs(); err != nil {
		return err
	}
	if req.Extent != 0 {
		return n.serveAppend(ctx, c, req)
	}
	by, err := n.quotas.Reserve(ctx, c.Op(), quota.Tenant{Class: req.Class, Owner: n.asker(c)}, req.Length)
	if err != nil {
		return err
	}
	defer by.End()
	r := &pieces{recv: c.Recv, hold: c.Hold, expect: req.Length}
	first, last, err := r.next()
	if err != nil {
		return err
	}
	var loc wire.Locator
	if last {
		loc, err = n.putSmall(ctx, by, first)
	} else {
		loc, err = n.putLarge(ctx, by, first, r)
	}
	if err != nil {
		return err
	}
	return c.Reply(&loc, nil)
}

// putSmall appends to a shared extent, and to another one when that fails.
func (n *Node) putSmall(ctx context.Context, by *quota.Reservation, p []byte) (wire.Locator, error) {
	if err := by.Cover(ctx, len(p)); err != nil {
		return wire.Locator{}, err
	}
	var errs []error
	for range putAttempts {
		ap, err := n.appends.shared(ctx, by.Tenant)
		if err != nil {
			return wire.Locator{}, errors.Join(append([]error{err}, errs...)...) // the first gives the code
		}
		offset, err := n.append(ctx, ap, by, p)
		n.appends.release(ctx, ap, false)
		if err == nil {
			return ap.locator(offset, uint64(len(p))), nil
		}
		if wire.CodeOf(err) == wire.CodeNoSpace {
			return wire.Locator{}, err // no other extent has more room here
		}
		errs = append(errs, err)
	}
	return wire.Locator{}, noneTook(errs...)
}

// putLarge fills an extent of its own and has it sealed. When it fails, the extent is deleted and
// the caller may put again: nothing was acknowledged.
func (n *Node) putLarge(ctx context.Context, by *quota.Reservation, first []byte, rest *pieces) (wire.Locator, error) {
	ap, err := n.appends.create(ctx, by.Tenant)
	if err != nil {
		return wire.Locator{}, err
	}
	moves := 0
	err = eachLeft(first, rest, func(p []byte) error {
		if err := by.Cover(ctx, len(p)); err != nil {
			return err
		}
		for {
			_, err := n.append(ctx, ap, by, p)
			if err == nil {
				return nil
			}
			if moves++; moves > maxMoves || ap.offset > mostMoved || n.store.Failed() != nil {
				return noneTook(err)
			}
			next, moved := n.moveOn(ctx, ap)
			if moved != nil {
				return noneTook(err, moved)
			}
			ap = next
		}
	})
	if err != nil {
		n.appends.discard(ap, err)
		return wire.Locator{}, err
	}
	defer n.appends.release(ctx, ap, true)
	return ap.locator(0, ap.offset), nil
}

// noneTook tells the caller of a put that another node, or another attempt, may do better.
func noneTook(errs ...error) error {
	text := strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; ")
	return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "no extent took the bytes: %s", text)
}

const (
	maxMoves  = 3         // of a large put that is under way
	mostMoved = 256 << 20 // a larger part is quicker sent again by its caller, who may be able to
)

// moveOn copies what a large put has stored to another extent, when the first takes no more: a replica has failed, or
// the cell seals it to repair it. The caller of the put notices only latency. The first extent is deleted.
func (n *Node) moveOn(ctx context.Context, old *appender) (*appender, error) {
	ap, err := n.appends.create(ctx, quota.TenantOf(old.extent))
	if err != nil {
		return nil, err
	}
	n.quotas.Drop(old.extent.ID) // its bytes count where they go
	err = n.replicas.EachPiece(ctx, uint64(old.extent.ID), 0, old.offset, func(p []byte) error {
		_, err := n.append(ctx, ap, nil, p)
		return err
	})
	if err != nil {
		n.appends.discard(ap, err)
		return nil, err
	}
	n.appends.discard(old, old.broken)
	return ap, nil
}

// eachLeft hands over a first piece and all that follow.
func eachLeft(first []byte, rest *pieces, to func([]byte) error) error {
	p, last := first, false
	for {
		if len(p) > 0 {
			if err := to(p); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		var err error
		if p, last, err = rest.next(); err != nil {
			return err
		}
	}
}

// serveAppend appends to the extent that the caller names, at its primary. The bytes stay together.
func (n *Node) serveAppend(ctx context.Context, c *mux.ServerCall, req wire.PutRequest) error {
	e, err := n.freshExtent(ctx, state.ExtentID(req.Extent))
	if err != nil {
		return err
	}
	if e.State != state.ExtentOpen {
		return wire.Errorf(c.Op(), wire.CodePrecondition, "extent %d is %s; append to an open one", e.ID, e.State)
	}
	if e.Primary() != n.id {
		return n.relayTo(ctx, c, e.Primary())
	}
	by, err := n.quotas.Reserve(ctx, c.Op(), quota.TenantOf(e), req.Length)
	if err != nil {
		return err
	}
	defer by.End()
	ap, err := n.appends.named(ctx, e)
	if err != nil {
		return err
	}
	defer n.appends.release(ctx, ap, false)
	start := ap.offset
	r := &pieces{recv: c.Recv, hold: c.Hold, expect: req.Length}
	add := func(p []byte) error {
		if err := by.Cover(ctx, len(p)); err != nil {
			return err
		}
		_, err := n.append(ctx, ap, by, p)
		return err
	}
	if err := eachLeft(nil, r, add); err != nil {
		return n.halfAppended(err, ap, start)
	}
	loc := ap.locator(start, ap.offset-start)
	return c.Reply(&loc, nil)
}

// halfAppended is the error of an append to a named extent, of which some pieces may be durable already. Others may
// append behind them, so they stay, though no locator names them: a repetition appends all of the bytes once more.
func (n *Node) halfAppended(err error, ap *appender, start uint64) error {
	if ap.offset == start {
		return err
	}
	typed := n.typed(wire.OpAppend, err)
	typed.Outcome = wire.Unknown
	typed.Detail += fmt.Sprintf("; extent %d holds the first %d bytes, from %d on", ap.extent.ID, ap.offset-start, start)
	return typed
}

// pieces gathers chunks to appends of appendPiece bytes.
type pieces struct {
	recv   func() ([]byte, error)
	hold   func(int) error // asks for memory
	expect int64           // how many bytes will come; less than 0: the caller does not know
	got    int64           // Invariant: got <= expect, unless expect is less than 0.
	rest   []byte          // what was received beyond the last piece
	buf    []byte
	end    bool
}

// next is the next piece, valid until the following call. last tells that no byte follows it, and that
// as many have come as were announced.
func (r *pieces) next() (p []byte, last bool, err error) {
	if r.buf == nil {
		size := int64(appendPiece)
		if r.expect >= 0 {
			size = min(size, r.expect)
		}
		if err := r.hold(int(size)); err != nil {
			return nil, false, err
		}
		r.buf = make([]byte, 0, size)
	}
	r.buf = append(r.buf[:0], r.rest...)
	r.rest = nil
	for !r.end && len(r.buf) <= appendPiece {
		chunk, err := r.receive()
		if errors.Is(err, io.EOF) {
			r.end = true
			break
		}
		if err != nil {
			return nil, false, err
		}
		room := appendPiece - len(r.buf)
		if len(chunk) > room {
			r.buf = append(r.buf, chunk[:room]...)
			r.rest = append([]byte(nil), chunk[room:]...)
			return r.buf, false, nil
		}
		r.buf = append(r.buf, chunk...)
	}
	return r.buf, true, nil
}

// receive is the next chunk, io.EOF after the last. A caller that sends more or less than it announced has
// lost track of its bytes, or its input has changed meanwhile: what came is not what it meant to store.
func (r *pieces) receive() ([]byte, error) {
	chunk, err := r.recv()
	r.got += int64(len(chunk))
	switch {
	case r.expect >= 0 && r.got > r.expect:
		return nil, wire.Errorf(0, wire.CodeInvalid, "%d bytes were announced and more have come", r.expect)
	case errors.Is(err, io.EOF) && r.got < r.expect:
		return nil, wire.Errorf(0, wire.CodeInvalid, "%d bytes were announced and %d have come", r.expect, r.got)
	}
	return chunk, err
}
