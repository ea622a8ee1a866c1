package replica

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire/mux"
)

// PieceBytes is how much is read, checked and sent at once.
const PieceBytes = 256 << 10

// sendCopy sends a range of this node's file as chunks, each checked before it leaves, and lets clients go first.
func (rs *Replicas) sendCopy(ctx context.Context, c *mux.ServerCall, e *state.Extent, offset, length uint64) error {
	if err := c.Hold(int(min(length, PieceBytes))); err != nil {
		return err
	}
	done, err := rs.opt.Memory.ToSend(ctx, rs.id, rs.opt.LagLimit)
	if err != nil {
		return err
	}
	defer done()
	return rs.eachShared(ctx, rs.opt.Disk.Copy(rs.log.View(), e), uint64(e.ID), offset, length, c.Send)
}

// EachPiece reads a range of this node's file for a client. What is good of it is sent also if the rest cannot be read.
// A failure of send is a *SendError.
func (rs *Replicas) EachPiece(ctx context.Context, id, offset, length uint64, send func([]byte) error) error {
	return rs.eachShared(ctx, diskshare.Copy{}, id, offset, length, send)
}

// EachVerified reads a range of this node's file for a client, without a copy: send is given parts of a buffer that are
// its own until it returns, and their sum. hold asks for the buffer's memory. What is good of the range is sent also
// if the rest cannot be read. A failure of send is a *SendError.
//
// Invariant: nothing is sent that was not verified against its record in the buffer that it is sent from.
func (rs *Replicas) EachVerified(ctx context.Context, id, offset, length uint64, hold func(int) error,
	send func(extent.Verified) error) error {
	buf, err := rs.buffers.take(length, hold)
	if err != nil {
		return err
	}
	defer rs.buffers.put(buf)
	for length > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, err := rs.readPiece(id, buf.b, offset, min(length, PieceBytes))
		if v.Len > 0 {
			if err := send(v); err != nil {
				return &SendError{err}
			}
		}
		if err != nil {
			return rs.LocalError(id, err)
		}
		offset, length = offset+uint64(v.Len), length-uint64(v.Len)
	}
	return nil
}

// readPiece reads the first of n bytes from offset on into buf.
func (rs *Replicas) readPiece(id uint64, buf []byte, offset, n uint64) (v extent.Verified, err error) {
	if len(buf) > copyBytes {
		return rs.store.ReadParts(extent.ID(id), buf, n, offset)
	}
	v.Len, v.Sum, err = rs.store.ReadSum(extent.ID(id), buf[:n], offset)
	v.Parts = [][]byte{buf[:v.Len]}
	return v, err
}

func (rs *Replicas) eachShared(ctx context.Context, share diskshare.Copy, id, offset, length uint64,
	send func([]byte) error) error {
	buf := make([]byte, min(length, PieceBytes))
	for length > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, got := buf[:share.Piece(int(min(length, PieceBytes)))], 0
		err := share.Do(ctx, func() (err error) {
			got, err = rs.store.ReadAt(extent.ID(id), p, offset)
			return err
		})
		if err != nil && (!errors.Is(err, io.EOF) || got < len(p)) {
			if err := sendSome(send, p[:got]); err != nil {
				return err
			}
			return rs.LocalError(id, err)
		}
		if err := send(p); err != nil {
			return &SendError{err}
		}
		offset, length = offset+uint64(len(p)), length-uint64(len(p))
	}
	return nil
}

// sendSome sends what was good of a piece that could not be read to its end: another replica goes on behind it.
func sendSome(send func([]byte) error, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if err := send(p); err != nil {
		return &SendError{err}
	}
	return nil
}

// SendError is a failure to reach the caller, as opposed to one to read.
type SendError struct{ Err error }

func (e *SendError) Error() string { return e.Err.Error() }

// Unwrap is why the caller could not be reached.
func (e *SendError) Unwrap() error { return e.Err }

// LocalError says which extent could not be read here.
func (rs *Replicas) LocalError(id uint64, err error) error {
	return fmt.Errorf("read extent %d on %s: %w", id, rs.id, err)
}
