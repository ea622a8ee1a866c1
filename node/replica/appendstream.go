package replica

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// streamHoldBytes is what a stream of appends keeps of this node's memory: what is written at once.
const streamHoldBytes = 1 << 20

// serveAppendStream takes the bytes of a large put from the primary while they come, and answers once all of them are
// durable. The fence is checked with each chunk and at the end: a seal that comes in between ends the stream.
func (rs *Replicas) serveAppendStream(c *mux.ServerCall, req wire.ReplicaAppend) error {
	if err := c.Hold(streamHoldBytes); err != nil {
		return err
	}
	w, err := rs.store.Stream(extent.ID(req.Extent), extent.Fence(c.Fence()), req.Offset)
	if err != nil {
		return err
	}
	if err := AppendAll(w, c.Recv); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// AppendAll gives a stream all that next has, io.EOF being its end, and makes it durable. Whatever comes of it, the
// stream is closed.
func AppendAll(w *extent.Stream, next func() ([]byte, error)) error {
	for {
		p, err := next()
		if err == nil {
			err = w.Append(p)
		} else if errors.Is(err, io.EOF) {
			return errors.Join(w.Sync(), w.Close())
		}
		if err != nil {
			return errors.Join(err, w.Close())
		}
	}
}

// TakesStreams reports whether a node takes the bytes of a large put while they come. Those of an older build do not.
func (r *Reachability) TakesStreams(ctx context.Context, id state.NodeID) (bool, error) {
	conn, err := r.opt.ToNode(ctx, id)
	if err != nil {
		return false, err
	}
	return conn.Peer().Features&wire.FeatureAppendStream != 0, nil
}

// Stream sends another node all that next has, io.EOF being its end, as the chunks of one step, and waits for the
// answer. It ends as Step does, but that each chunk and the answer have the step limit for themselves; for how long
// next waits is the caller's business.
func (r *Reachability) Stream(
	ctx context.Context, to state.NodeID, req mux.Request, next func() ([]byte, error),
) error {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	up := r.whileUp(to)
	defer context.AfterFunc(up, cancel)()
	err := r.streamOnce(limited, to, req, next)
	if err != nil && up.Err() != nil {
		err = context.Cause(up)
	}
	if ctx.Err() == nil {
		r.note(to, err)
	}
	return err
}

func (r *Reachability) streamOnce(
	ctx context.Context, to state.NodeID, req mux.Request, next func() ([]byte, error),
) error {
	conn, err := r.opt.ToNode(ctx, to)
	if err != nil {
		return err
	}
	s, err := conn.Open(ctx, req)
	if err != nil {
		return err
	}
	defer s.Close()
	limit := patience{r: r, to: to, of: s}
	for {
		p, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := limit.watch(func() error { return s.Send(p) }); errors.Is(err, mux.ErrEnded) {
			break // the answer says why
		} else if err != nil {
			return err
		}
	}
	return limit.watch(func() error {
		if err := s.CloseSend(); err != nil && !errors.Is(err, mux.ErrEnded) {
			return err
		}
		_, err := s.Reply()
		return err
	})
}

// patience ends a stream whose peer lives but takes nothing, because its disk hangs for one.
type patience struct {
	r  *Reachability
	to state.NodeID
	of *mux.Stream
}

func (p patience) watch(do func() error) error {
	late := make(chan struct{})
	stop := p.r.opt.Clock.AfterFunc(p.r.opt.StepLimit, func() {
		close(late)
		p.of.Cancel()
	})
	err := do()
	stop()
	select {
	case <-late:
		if err != nil {
			return wire.Errorf(wire.OpReplicaAppend, wire.CodeDeadline, "%s has taken nothing for %v", p.to,
				p.r.opt.StepLimit.Round(time.Millisecond))
		}
	default:
	}
	return err
}
