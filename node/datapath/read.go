package datapath

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeRead sends a range of an extent. Any whole replica will do: this node's own first, else
// another's, and when one cannot be read to the end the next goes on where it stopped.
func (dp *Path) ServeRead(ctx context.Context, c *mux.ServerCall, req wire.ReadRequest) error {
	if req.Node != "" && req.Node != string(dp.o.ID) {
		return dp.o.Relay(ctx, c, state.NodeID(req.Node))
	}
	e, err := dp.FreshExtent(ctx, state.ExtentID(req.Locator.Extent))
	if err != nil {
		return err
	}
	if err := replica.CheckBirth(wire.OpRead, e, req.Locator.Birth); err != nil {
		return err
	}
	offset, length, err := readRange(e, req)
	if err != nil {
		return err
	}
	if err := dp.o.Log.View().CheckDeleted(wire.OpRead, e, offset, length); err != nil {
		return err
	}
	r := &rangeReader{o: dp.o, e: e, c: c, offset: offset, end: offset + length, length: length,
		inline: length > 0 && length <= uint64(min(req.Inline, wire.MaxInlineBytes)) && length <= uint64(c.MaxRaw())}
	from := dp.o.ID
	if req.Node != "" {
		err = r.local(ctx)
	} else {
		from, err = r.anywhere(ctx)
	}
	if err != nil || r.replied {
		return err
	}
	return r.reply(from, mux.Bytes{})
}

// readRange is the range that a request means, if the extent can have it.
func readRange(e *state.Extent, req wire.ReadRequest) (offset, length uint64, err error) {
	loc := req.Locator
	if req.Whole {
		if e.State != state.ExtentSealed {
			return 0, 0, wire.Errorf(wire.OpRead, wire.CodePrecondition,
				"extent %d is %s: its length is not final; seal it or name a range", e.ID, e.State)
		}
		return 0, e.Length, nil
	}
	if loc.Offset+loc.Length < loc.Offset {
		return 0, 0, wire.Errorf(wire.OpRead, wire.CodeInvalid,
			"offset %d and length %d are more than an extent can have", loc.Offset, loc.Length)
	}
	if e.State == state.ExtentSealed && loc.Offset+loc.Length > e.Length {
		return 0, 0, wire.Errorf(wire.OpRead, wire.CodeNotFound,
			"extent %d has %d bytes, the locator ends at %d", e.ID, e.Length, loc.Offset+loc.Length)
	}
	return loc.Offset, loc.Length, nil
}

// rangeReader sends a range from one replica after the other, as chunks, or, inline, with the reply. Each byte was
// summed when it was verified, here or at the node that it comes from; the frames and the reply have their sums from
// that. Invariant: what was sent, or is in kept, ends at offset and has this sum.
type rangeReader struct {
	o           *Options
	e           *state.Extent
	c           *mux.ServerCall
	offset, end uint64
	length      uint64 // of the whole range
	sum         uint32

	inline  bool
	kept    []byte // inline: what was read before the last part
	replied bool
}

// send sends what was read at a replica of a node. It is the caller's again when send returns.
func (r *rangeReader) send(from state.NodeID, v extent.Verified) error {
	r.sum = crc32c.Combine(r.sum, v.Sum, int64(v.Len))
	b := mux.Bytes{Parts: v.Parts, Sum: v.Sum, Summed: true}
	last := r.offset+uint64(v.Len) == r.end
	var err error
	switch {
	case !r.inline:
		err = r.c.SendBytes(b)
	case last && len(r.kept) == 0: // as a rule: from the buffer that the file was read into
		b.Sum, err = r.sum, r.reply(from, b)
	default:
		if r.kept == nil {
			if err := r.c.Hold(int(r.length)); err != nil {
				return err
			}
			r.kept = make([]byte, 0, r.length)
		}
		for _, p := range v.Parts {
			r.kept = append(r.kept, p...)
		}
		if last {
			err = r.reply(from, mux.Bytes{Parts: [][]byte{r.kept}, Sum: r.sum, Summed: true})
		}
	}
	if err != nil {
		return err
	}
	r.offset += uint64(v.Len)
	r.o.Share.Client()
	return nil
}

// reply ends the call.
func (r *rangeReader) reply(from state.NodeID, raw mux.Bytes) error {
	r.replied = true
	return r.c.ReplyBytes(&wire.ReadReply{Length: r.length, Node: string(from), Sum: r.sum, Summed: true}, raw)
}

// local reads this node's replica.
func (r *rangeReader) local(ctx context.Context) error {
	if _, holds := r.e.Replica(r.o.ID); !holds {
		return wire.Errorf(wire.OpRead, wire.CodeNotFound, "%s has no replica of extent %d", r.o.ID, r.e.ID)
	}
	err := r.o.Store.CheckBirth(extent.ID(r.e.ID), extent.Birth(r.e.Birth()))
	if err != nil {
		err = r.o.Replicas.LocalError(uint64(r.e.ID), err)
	} else {
		err = r.o.Replicas.EachVerified(ctx, uint64(r.e.ID), r.offset, r.end-r.offset, r.c.Hold,
			func(v extent.Verified) error { return r.send(r.o.ID, v) })
	}
	if r.e.State == state.ExtentOpen && extent.CodeOf(err) == extent.CodeTooShort {
		return wire.Errorf(wire.OpRead, wire.CodeNotFound, "open extent %d does not go as far as byte %d yet", r.e.ID, r.end)
	}
	if deleted := r.deleted(err); deleted != nil {
		return deleted
	}
	r.o.Replicas.NoteUnread(r.e, r.o.ID, err)
	return err
}

// anywhere reads whichever replica can be read, and answers which one was read last. Of a damaged extent the parts may
// have to come from one replica and another by turns.
func (r *rangeReader) anywhere(ctx context.Context) (id state.NodeID, err error) {
	for {
		was := r.offset
		if id, err = r.anywhereOnce(ctx); err == nil || !r.e.Damaged || r.offset == was {
			return id, err
		}
	}
}

func (r *rangeReader) anywhereOnce(ctx context.Context) (state.NodeID, error) {
	var errs []error
	for _, id := range r.order() {
		err := r.from(ctx, id)
		if err == nil {
			return id, nil
		}
		var gone *replica.SendError
		if ctx.Err() != nil || errors.As(err, &gone) {
			return "", err // it is the caller who cannot be reached
		}
		deleted, sure := r.deletedThere(ctx, id, err)
		if deleted != nil {
			return "", deleted
		}
		if id != r.o.ID && sure {
			r.o.Replicas.NoteUnread(r.e, id, err) // local has noted this node's own
		}
		errs = append(errs, fmt.Errorf("%s: %w", id, err))
	}
	if len(errs) == 0 {
		return "", wire.Errorf(wire.OpRead, wire.CodeUnavailable, "no node with a replica of extent %d is up", r.e.ID)
	}
	return "", unreadable(r.o.ID, r.e, errs)
}

// unreadable is the failure to read an extent from any of its replicas, of which errs says what each that was tried
// gave. It is called damage only if all of them are damaged: who is told that gives the bytes up, and one that could
// not be read now, on a disk that has failed or a node that is down, may have them yet.
func unreadable(node state.NodeID, e *state.Extent, errs []error) *wire.Error {
	out := failure.Of(wire.OpRead, node, errs[0])
	what, whole := "cannot be read from any replica", 0
	for _, r := range e.Replicas {
		if r.State == state.ReplicaWhole {
			whole++
		}
	}
	for _, err := range errs {
		code := failure.Of(wire.OpRead, node, err).Code
		if code == wire.CodeDiskFailed || out.Code == wire.CodeCorrupt && (code != out.Code || len(errs) < whole) {
			out.Code, out.Outcome = wire.CodeUnavailable, wire.NotDone
			what = "cannot be read now, and may be later"
			break
		}
	}
	out.Detail = fmt.Sprintf("extent %d %s: %v", e.ID, what, errors.Join(errs...))
	return out
}

// order is the replicas to try: this node's own first; those on nodes that are not up, never. Suspect ones come last,
// and only where they may have what no whole one has: of a damaged extent, and of an open one, which is going to be
// sealed. Every record that is read is verified.
func (r *rangeReader) order() []state.NodeID {
	view := r.o.Log.View()
	var ids, last []state.NodeID
	for _, rep := range r.e.Replicas {
		node := view.Node(rep.Node)
		switch {
		case node == nil || rep.Node != r.o.ID && (node.State != state.NodeUp || node.Unproven):
		case rep.State != state.ReplicaWhole:
			if r.e.Damaged || r.e.State == state.ExtentOpen {
				last = append(last, rep.Node)
			}
		case rep.Node == r.o.ID:
			ids = append([]state.NodeID{rep.Node}, ids...)
		default:
			ids = append(ids, rep.Node)
		}
	}
	return append(ids, last...)
}

func (r *rangeReader) from(ctx context.Context, id state.NodeID) error {
	if id == r.o.ID {
		return r.local(ctx)
	}
	conn, err := r.o.Connect(ctx, id)
	if err != nil {
		return err
	}
	stream, err := conn.Open(ctx, mux.Request{
		Op: wire.OpRead, Session: wire.SessionClient,
		Body: &wire.ReadRequest{
			Node: string(id),
			Locator: wire.Locator{
				Extent: uint64(r.e.ID), Offset: r.offset, Length: r.end - r.offset, Birth: r.e.Birth(),
			},
		},
	})
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		p, sum, err := r.o.Reach.RecvSum(stream)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if r.offset+uint64(len(p)) > r.end {
			return wire.Errorf(wire.OpRead, wire.CodeProtocol, "%s sent more than was asked for", id)
		}
		if err := r.send(id, extent.Verified{Parts: [][]byte{p}, Len: len(p), Sum: sum}); err != nil {
			return &replica.SendError{Err: err}
		}
	}
	if r.offset != r.end {
		return wire.Errorf(wire.OpRead, wire.CodeProtocol, "%s ended at byte %d of %d", id, r.offset, r.end)
	}
	return nil
}
