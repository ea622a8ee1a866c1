package datapath

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/wire"
)

const (
	// batchBytes and batchPuts bound a batch: it is one append of every replica.
	batchBytes = AppendBytes
	batchPuts  = 512
	// copiedBytes is up to where a put is copied into the batch that it joins. A larger one is a batch of its own.
	copiedBytes = 256 << 10
)

// batch is puts that become durable together: one frame to each replica, one write and one sync there.
type batch struct {
	raw  []byte     // the bytes of all puts, one behind the other
	puts []*waiting // in that order. Invariant: their lengths add up to that of raw.

	pool *[]byte      // what raw lies in; nil: raw is somebody else's
	uses atomic.Int32 // of raw; with the last of them it goes back to where it came from
}

// waiting is a put in a batch.
type waiting struct {
	by     *quota.Reservation
	length int
	wake   chan struct{} // has a token when the put is to lead, to try again, or is done; room for it always

	gone  bool      // Guarded by appenders.mu. Nobody waits any more.
	lead  *appender // Guarded by appenders.mu. The put has its turn, to append a batch with.
	leads *batch    // Guarded by appenders.mu. What it is to append then: the batch that the put is in.

	// What became of the put. Whoever appends the batch owns this, until the token is in wake.
	again  bool // nobody did: join another
	ap     *appender
	offset uint64
	err    error
}

// rawPool keeps the memory of batches; it only saves garbage.
var rawPool = sync.Pool{New: func() any { return new([]byte) }}

// single is a batch of one put whose bytes stay where they are. Whoever makes a batch drops it.
func single(w *waiting, p []byte) *batch {
	b := &batch{raw: p, puts: []*waiting{w}}
	b.keep(1)
	return b
}

// newBatch is a batch of puts that are copied.
func newBatch() *batch {
	b := &batch{pool: rawPool.Get().(*[]byte)}
	b.raw = (*b.pool)[:0]
	b.keep(1)
	return b
}

// takes reports whether another put of n bytes fits. A batch whose bytes are not its own takes no other.
func (b *batch) takes(n int) bool {
	return b.pool != nil && len(b.puts) < batchPuts && len(b.raw)+n <= batchBytes
}

// add copies a put to the end.
func (b *batch) add(w *waiting, p []byte) {
	b.raw = append(b.raw, p...)
	b.puts = append(b.puts, w)
}

// keep keeps the bytes for n more, each of whom drops the batch.
func (b *batch) keep(n int) { b.uses.Add(int32(n)) }

func (b *batch) drop() {
	if b.uses.Add(-1) == 0 && b.pool != nil {
		*b.pool = b.raw[:0]
		rawPool.Put(b.pool)
	}
}

// lengths are those of the puts, as the wire has them; nil for a single one.
func (b *batch) lengths() []uint32 {
	if len(b.puts) == 1 {
		return nil
	}
	all := make([]uint32, len(b.puts))
	for i, w := range b.puts {
		all[i] = uint32(w.length)
	}
	return all
}

// parts are the bytes of each put.
func (b *batch) parts() [][]byte {
	all, rest := make([][]byte, len(b.puts)), b.raw
	for i, w := range b.puts {
		all[i], rest = rest[:w.length], rest[w.length:]
	}
	return all
}

// put stores a small put in an open extent that is shared: together with the others that wait for one. It returns the
// appender, and where in its extent the bytes are. A p of more than copiedBytes may not change any more, ever.
//
// Whoever finds nothing under way appends at once, and alone: nobody waits for company. The others gather in batches,
// and who has the turn hands it to the first of the next batch when it is done with its own. There is no goroutine but
// the callers'.
func (a *appenders) put(ctx context.Context, by *quota.Reservation, p []byte) (*appender, uint64, error) {
	w := &waiting{by: by, length: len(p), wake: make(chan struct{}, 1)}
	mayMake := true
	for {
		ap, b, err := a.enter(ctx, w, p, mayMake)
		switch {
		case err != nil && wire.CodeOf(err) == wire.CodeQuota && mayMake:
			mayMake = false // the leader counts more extents than this node; those that are there take turns
			continue
		case err != nil:
			return nil, 0, err
		case ap != nil:
			a.run(ap, b)
		}
		if err := a.await(ctx, w); err != nil {
			return nil, 0, err
		}
		if !w.again {
			return w.ap, w.offset, w.err
		}
		w.again = false
	}
}

// enter puts w into a batch. If it returns an appender, the caller has its turn and appends the batch with it, which
// need not be the one that w is in.
func (a *appenders) enter(ctx context.Context, w *waiting, p []byte, mayMake bool) (*appender, *batch, error) {
	t := w.by.Tenant
	a.mu.Lock()
	l, now := a.laneLocked(t), a.o.Clock.Now()
	if l.underWay(now) && !l.crowded(len(p)) {
		defer a.mu.Unlock()
		l.join(w, p)
		return nil, nil, nil
	}
	if ap := l.free(now); ap != nil {
		defer a.mu.Unlock()
		l.join(w, p)
		return ap, l.next(), nil
	}
	if l.making > 0 || len(l.open) > 0 && (!mayMake || len(l.open) >= OpenPerTenant || !a.o.Quotas.MayCreate(t)) {
		defer a.mu.Unlock()
		l.join(w, p)
		return nil, nil, nil
	}
	l.making++ // or each of a hundred callers at once would make an extent
	a.mu.Unlock()
	return a.createShared(ctx, t, w, p)
}

// await returns when it is known what became of w, which may have to append its batch itself, or when ctx ends. What
// is in a batch then may be stored, and nobody is told where.
func (a *appenders) await(ctx context.Context, w *waiting) error {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			if a.leave(w) {
				return ctx.Err()
			}
			<-w.wake
		}
		a.mu.Lock()
		ap, b := w.lead, w.leads
		w.lead, w.leads = nil, nil
		a.mu.Unlock()
		if ap == nil {
			return nil
		}
		a.run(ap, b)
	}
}

// leave takes the caller of a put away, unless it leads: others wait for it then.
func (a *appenders) leave(w *waiting) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.gone = w.lead == nil
	return w.gone
}

// run appends a batch, gives the turn on, and tells the puts what became of them.
func (a *appenders) run(ap *appender, b *batch) {
	offset, err := a.append(context.Background(), ap, b)
	a.release(ap, false)
	for _, w := range b.puts {
		w.ap, w.offset, w.err = ap, offset, err
		offset += uint64(w.length)
		w.wake <- struct{}{}
	}
	b.drop()
}
