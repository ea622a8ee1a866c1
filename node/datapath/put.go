package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// putAttempts bounds how many extents a small put is tried on. One more than a replica that fails
// can break while it is not yet known to be down.
const putAttempts = OpenPerTenant + 2

// ServePut stores the caller's bytes on all replicas and answers where they are. What fits one
// append shares an extent with other puts; what does not gets an extent of its own.
func (dp *Path) ServePut(ctx context.Context, c *mux.ServerCall, req wire.PutRequest) error {
	if err := state.CheckClass(c.Op(), req.Class); err != nil {
		return err
	}
	if err := dp.o.Works(); err != nil {
		return err
	}
	if req.Extent != 0 && req.Whole {
		return wire.Errorf(c.Op(), wire.CodeInvalid, "an append to a named extent brings its bytes as chunks")
	}
	if req.Extent != 0 {
		return dp.serveAppend(ctx, c, req)
	}
	by, err := dp.o.Quotas.Reserve(ctx, c.Op(), quota.Tenant{Class: req.Class, Owner: dp.o.Asker(c)}, req.Length)
	if err != nil {
		return err
	}
	defer by.End()
	loc, err := dp.store(ctx, c, by, req)
	if err != nil {
		return err
	}
	return c.Reply(&loc, nil)
}

// store stores the bytes of a put, which are in its request or follow it.
func (dp *Path) store(
	ctx context.Context, c *mux.ServerCall, by *quota.Reservation, req wire.PutRequest,
) (wire.Locator, error) {
	if req.Whole {
		p, err := wholePut(c.Raw(), req)
		if err != nil {
			return wire.Locator{}, err
		}
		return dp.putSmall(ctx, by, p)
	}
	r := dp.piecesOf(c, req.Length)
	first, last, err := r.next()
	switch {
	case err != nil:
		return wire.Locator{}, err
	case last:
		return dp.putSmall(ctx, by, first)
	}
	return dp.putLarge(ctx, by, first, r)
}

// wholePut is the bytes of a put that are in its request, which the call keeps until it has ended.
func wholePut(raw []byte, req wire.PutRequest) ([]byte, error) {
	switch {
	case int64(len(raw)) != req.Length:
		return nil, wire.Errorf(0, wire.CodeInvalid, "%d bytes were announced and %d have come", req.Length, len(raw))
	case len(raw) > AppendBytes:
		return nil, wire.Errorf(0, wire.CodeInvalid, "%d bytes in one request, %d at most: send them as chunks",
			len(raw), AppendBytes)
	case len(raw) > copiedBytes:
		return bytes.Clone(raw), nil // a batch of its own may need them longer than the call lasts
	}
	return raw, nil
}

// putSmall appends to a shared extent, and to another one when that fails.
func (dp *Path) putSmall(ctx context.Context, by *quota.Reservation, p []byte) (wire.Locator, error) {
	if err := by.Cover(ctx, len(p)); err != nil {
		return wire.Locator{}, err
	}
	var errs []error
	for range putAttempts {
		ap, offset, err := dp.appends.put(ctx, by, p)
		if err == nil {
			return ap.locator(offset, uint64(len(p))), nil
		}
		if ap == nil {
			return wire.Locator{}, errors.Join(append([]error{err}, errs...)...) // the first gives the code
		}
		if wire.CodeOf(err) == wire.CodeNoSpace {
			return wire.Locator{}, err // no other extent has more room here
		}
		errs = append(errs, err)
	}
	return wire.Locator{}, noneTook(errs...)
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
func (dp *Path) serveAppend(ctx context.Context, c *mux.ServerCall, req wire.PutRequest) error {
	e, err := dp.FreshExtent(ctx, state.ExtentID(req.Extent))
	if err != nil {
		return err
	}
	if e.State != state.ExtentOpen {
		return wire.Errorf(c.Op(), wire.CodePrecondition, "extent %d is %s; append to an open one", e.ID, e.State)
	}
	if e.Primary() != dp.o.ID {
		return dp.o.Relay(ctx, c, e.Primary())
	}
	by, err := dp.o.Quotas.Reserve(ctx, c.Op(), quota.TenantOf(e), req.Length)
	if err != nil {
		return err
	}
	defer by.End()
	ap, err := dp.appends.named(ctx, e)
	if err != nil {
		return err
	}
	defer dp.appends.release(ap, false)
	start := ap.offset
	r := dp.piecesOf(c, req.Length)
	add := func(p []byte) error {
		if err := by.Cover(ctx, len(p)); err != nil {
			return err
		}
		_, err := dp.appends.appendPiece(ctx, ap, by, p)
		return err
	}
	if err := eachLeft(nil, r, add); err != nil {
		return dp.halfAppended(err, ap, start)
	}
	loc := ap.locator(start, ap.offset-start)
	return c.Reply(&loc, nil)
}

// halfAppended is the error of an append to a named extent, of which some pieces may be durable already. Others may
// append behind them, so they stay, though no locator names them: a repetition appends all of the bytes once more.
func (dp *Path) halfAppended(err error, ap *appender, start uint64) error {
	if ap.offset == start {
		return err
	}
	typed := failure.Of(wire.OpAppend, dp.o.ID, err)
	typed.Outcome = wire.Unknown
	typed.Detail += fmt.Sprintf("; extent %d holds the first %d bytes, from %d on", ap.extent.ID, ap.offset-start, start)
	return typed
}
