package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// slowSource is how long a source may bring nothing while there is another one.
const slowSource = 5 * time.Second

// sourceError is a failure of a source: another one may do better.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// Unwrap is what the source has failed with.
func (e *sourceError) Unwrap() error { return e.err }

// sources are the nodes that can be read from, the one that the start names first. The others are for when it fails;
// what they then serve counts for none of the limits of the schedule, which knows nothing of it. An older node serves
// only the copies whose start names it.
func (c *copier) sources(o *state.Op, e *state.Extent) []state.NodeID {
	ids, view := []state.NodeID{o.Source}, c.log.View()
	if !view.AllReach(state.LevelPaced) {
		return ids
	}
	for _, r := range e.Replicas {
		node := view.Node(r.Node)
		if r.State == state.ReplicaWhole && r.Node != o.Source && r.Node != c.id && node != nil &&
			node.State == state.NodeUp && !node.Unproven {
			ids = append(ids, r.Node)
		}
	}
	return ids
}

// fill reads the missing rest. It answers those that may have sent something. While no source has memory for it, it
// asks again and again: an attempt more would be no better, and an operation has few.
func (c *copier) fill(
	ctx context.Context, o *state.Op, e *state.Extent, stage *extent.Stage, share diskshare.Copy,
) (read []state.NodeID, err error) {
	for {
		sources := c.sources(o, e)
		if stage.Len() == e.Length {
			return append(read, sources[0]), nil // this one as likely as another if an earlier attempt has got all
		}
		from, errs := c.fillFrom(ctx, sources, o, e, stage, share)
		for _, id := range from {
			if !slices.Contains(read, id) {
				read = append(read, id)
			}
		}
		if !slices.ContainsFunc(errs, func(err error) bool { return wire.CodeOf(err) != wire.CodeExhausted }) {
			if len(errs) == 0 {
				return read, nil
			}
			select {
			case <-c.reach.opt.Clock.After(busyAgain):
				continue
			case <-ctx.Done():
			}
		}
		return read, errors.Join(errs...)
	}
}

// fillFrom reads the missing rest from one source after the other, each going on where the one before has stopped. It
// answers those that may have sent something, and without errors if nothing is missing any more.
func (c *copier) fillFrom(ctx context.Context, sources []state.NodeID, o *state.Op, e *state.Extent,
	stage *extent.Stage, share diskshare.Copy) (read []state.NodeID, errs []error) {
	for i, id := range sources {
		if i > 0 {
			c.logger.Warn("copy goes on from another source", "op", o.ID.String(), "extent", uint64(e.ID),
				"source", string(id), "offset", stage.Len(), "why", errs[i-1])
		}
		read = append(read, id)
		in := incoming{c: c, o: o, e: e, source: id, stage: stage, share: share, limit: c.reach.opt.StepLimit}
		if i+1 < len(sources) {
			in.limit = min(in.limit, slowSource)
		}
		err := in.run(ctx)
		if err == nil {
			return read, nil
		}
		failed := (*sourceError)(nil)
		if ctx.Err() != nil || !errors.As(err, &failed) || !c.log.View().Runs(o.Attempt()) {
			return read, []error{err}
		}
		c.suspects.source(e.ID, id, err)
		errs = append(errs, fmt.Errorf("%s: %w", id, err))
	}
	return read, errs
}

// incoming is what one source sends of a copy.
type incoming struct {
	c      *copier
	o      *state.Op
	e      *state.Extent
	source state.NodeID
	stage  *extent.Stage
	share  diskshare.Copy
	limit  time.Duration // how long the source may bring nothing
}

// run reads the missing rest. A failure of the source is a *sourceError.
func (in *incoming) run(ctx context.Context) error {
	live, cancel := context.WithCancel(ctx)
	defer cancel()
	up := in.c.reach.whileUp(in.source)
	defer context.AfterFunc(up, cancel)()
	opened := in.c.reach.opt.Clock.AfterFunc(in.limit, cancel)
	stream, err := in.open(live)
	opened()
	if err != nil {
		return in.failed(up, err)
	}
	defer stream.Close()
	for {
		p, err := in.c.reach.recv(stream, in.limit)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return in.failed(up, err)
		}
		if err := in.take(ctx, p); err != nil {
			return err
		}
	}
	if have := in.stage.Len(); have != in.e.Length {
		return &sourceError{fmt.Errorf("%s sent extent %d up to byte %d of %d", in.source, in.e.ID, have, in.e.Length)}
	}
	return nil
}

// failed is the failure of the source, by the name that the cell has for it.
func (in *incoming) failed(up context.Context, err error) error {
	if up.Err() != nil {
		err = context.Cause(up)
	}
	return &sourceError{err}
}

// take adds p, at the pace of the cell.
func (in *incoming) take(ctx context.Context, p []byte) error {
	if in.stage.Len()+uint64(len(p)) > in.e.Length {
		return &sourceError{
			fmt.Errorf("%s sent more of extent %d than its %d bytes", in.source, in.e.ID, in.e.Length)}
	}
	if err := in.c.takeSpace(wire.OpReplicaRead, len(p)); err != nil {
		return err
	}
	if err := in.c.pace.Take(ctx, len(p)); err != nil {
		return err
	}
	return appendShared(ctx, in.stage, in.share, p)
}

// open begins to read from the source. The stream ends with ctx.
func (in *incoming) open(ctx context.Context) (*mux.Stream, error) {
	conn, err := in.c.reach.opt.ToNode(ctx, in.source)
	if err != nil {
		return nil, err
	}
	e, o, from := in.e, in.o, in.stage.Len()
	return conn.Open(ctx, mux.Request{
		Op: wire.OpReplicaRead, Session: wire.SessionRepair, Fence: uint64(o.Fence), MinIndex: uint64(o.Fence),
		Body: &wire.ReplicaRead{
			Extent: uint64(e.ID), Op: uint64(o.ID), Offset: from, Length: e.Length - from, Birth: e.Birth(),
		},
	})
}
