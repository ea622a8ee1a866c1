package datapath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// fan passes what one large put brings on to all replicas of its extent, while the next comes.
//
// Invariants.
//   - Each replica gets the blocks in the order in which they were pushed, without a gap: each has a lane of its own,
//     which is a queue and one goroutine.
//   - A block belongs to the lanes until each has done with it, and only then goes home to be filled again. So what is
//     on its way is bounded by the blocks that there are, and the slowest replica sets the pace.
//   - finish says that all is well only when every replica has answered that all is durable there, under the epoch of
//     the extent. Nothing of the put is acknowledged before. A seal in the middle raises the fence of a replica above
//     that epoch: its stream ends, and so does the put to this extent.
//   - After a failure the lanes have stopped before anything is read of this node's own file; the file then has,
//     durably, all blocks that went home, and perhaps more.
type fan struct {
	ap     *appender
	lanes  map[state.NodeID]chan *block
	cancel context.CancelFunc
	broken chan struct{} // closed when a lane has failed
	ended  chan struct{} // closed when all lanes have ended

	once    sync.Once
	running atomic.Int32
	errs    map[state.NodeID]error // Written before ended is closed.
	passed  []*block               // Owned by who pushes. In order: those that may be on their way.
}

// block is a part of a put that goes to all replicas.
type block struct {
	mem  []byte
	p    []byte       // of mem, what is to be stored
	at   uint64       // where in the extent
	refs atomic.Int32 // lanes that have it
	home chan *block
}

// done is called by each lane once.
func (b *block) done() {
	if b.refs.Add(-1) == 0 {
		b.home <- b
	}
}

// goHome ends the use of a block that no lane has any more.
func (b *block) goHome() {
	b.refs.Store(0)
	b.home <- b
}

func (b *block) end() uint64 { return b.at + uint64(len(b.p)) }

// makeBlocks makes blocks and their home, in which they are.
func makeBlocks(n, bytes int) chan *block {
	home := make(chan *block, n)
	for range n {
		home <- &block{mem: make([]byte, bytes), home: home}
	}
	return home
}

// streams reports whether all other replicas of an extent take streams. A node that cannot be reached does, as far as
// is known: the put will hear of it.
func (dp *Path) streams(ctx context.Context, e *state.Extent) bool {
	for _, r := range e.Replicas {
		if r.Node == dp.o.ID {
			continue
		}
		if takes, err := dp.o.Reach.TakesStreams(ctx, r.Node); err == nil && !takes {
			return false
		}
	}
	return true
}

// newFan begins to write to an extent that is empty.
func (dp *Path) newFan(ctx context.Context, ap *appender) *fan {
	ctx, cancel := context.WithCancel(ctx)
	f := &fan{ap: ap, cancel: cancel, lanes: map[state.NodeID]chan *block{}, broken: make(chan struct{}),
		ended: make(chan struct{})}
	for _, r := range ap.extent.Replicas {
		f.lanes[r.Node] = make(chan *block, largeBlocks+moveBlocks)
	}
	f.running.Store(int32(len(f.lanes)))
	go func() {
		f.errs = dp.o.Each(ap.extent, func(node state.NodeID) error {
			err := f.lane(ctx, dp, node)
			f.running.Add(-1)
			if err != nil {
				f.fail()
			}
			return err
		})
		for _, err := range f.errs {
			if err != nil {
				f.fail() // this node's disk hangs, and its lane has said nothing
			}
		}
		cancel()
		close(f.ended)
	}()
	return f
}

// fail ends all lanes.
func (f *fan) fail() {
	f.once.Do(func() {
		close(f.broken)
		f.cancel()
	})
}

// lane carries all blocks to one replica.
func (f *fan) lane(ctx context.Context, dp *Path, node state.NodeID) error {
	var last *block
	next := func() ([]byte, error) {
		if last != nil {
			last.done()
			last = nil
		}
		select {
		case b, more := <-f.lanes[node]:
			if !more {
				return nil, io.EOF
			}
			last = b
			return b.p, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	e := f.ap.extent
	if node == dp.o.ID {
		w, err := dp.o.Store.Stream(extent.ID(e.ID), extent.Fence(e.Epoch), 0)
		if err != nil {
			return err
		}
		return replica.AppendAll(w, next)
	}
	return dp.o.Reach.Stream(ctx, node, mux.Request{
		Op: wire.OpReplicaAppend, Session: wire.SessionAppend, Fence: uint64(e.Epoch), MinIndex: uint64(e.Epoch),
		Body: &wire.ReplicaAppend{Extent: uint64(e.ID), Birth: e.Birth()},
	}, next)
}

// push gives a block to all lanes. It does not wait: there are no more blocks than a lane holds.
func (f *fan) push(b *block) {
	f.passed = append(slices.DeleteFunc(f.passed, func(b *block) bool { return b.refs.Load() == 0 }), b)
	b.refs.Store(int32(len(f.lanes)))
	for _, lane := range f.lanes {
		lane <- b
	}
}

// finish says that no block follows and waits until all are durable on all replicas.
func (f *fan) finish() error {
	for _, lane := range f.lanes {
		close(lane)
	}
	<-f.ended
	return f.err()
}

// stop ends what is under way, and waits for it. It reports whether all lanes have let go of their blocks; that of a
// disk that hangs has not.
func (f *fan) stop() bool {
	f.fail()
	<-f.ended
	return f.running.Load() == 0
}

// waiting is what was pushed and does not lie before offset kept, in order. The rest goes home. The lanes have let go
// of all of it.
func (f *fan) waiting(kept uint64) []*block {
	var waiting []*block
	for _, b := range f.passed {
		switch {
		case b.refs.Load() == 0: // it went home, and may be somebody else's
		case b.end() > kept:
			waiting = append(waiting, b)
		default:
			b.goHome()
		}
	}
	f.passed = nil
	return waiting
}

// err is why the extent takes no more. That of a replica that failed comes before those that were ended because of it.
func (f *fan) err() error {
	var worst error
	for node, err := range f.errs {
		if err == nil {
			continue
		}
		ended := errors.Is(err, context.Canceled) || wire.CodeOf(err) == wire.CodeCancelled
		if worst == nil || !ended {
			worst = wire.Errorf(wire.OpAppend, wire.CodeUnavailable, "append to extent %d on %s: %v", f.ap.extent.ID, node, err)
		}
	}
	return worst
}

// stopped is the error of a fan of which a lane has failed.
func (f *fan) stopped() error {
	f.stop()
	return cmp.Or(f.err(), fmt.Errorf("extent %d takes no more", f.ap.extent.ID))
}
