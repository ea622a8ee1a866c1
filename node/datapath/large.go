package datapath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/wire"
)

const (
	blockBytes  = 512 << 10 // of a large put, what is passed on at once
	largeBlocks = 3         // being filled, on their way, or written
	moveBlocks  = 2         // the same while a large put moves on to another extent
	maxMoves    = 3         // of a large put that is under way
	mostMoved   = 1 << 30   // a larger part is quicker sent again by its caller, who may be able to
)

// large is one put of more than fits an append. It fills an extent of its own and has it sealed.
//
// Goal. Its bytes pass through: what has come is on its way to all replicas while more comes, is written there past
// the cache where that can be, and synced now and then and at the end, not with each piece. What a node needs of memory
// is the same for any length.
//
// Invariants.
//   - Nothing is acknowledged before finish: until then no byte is promised to anybody, and whatever goes wrong, the
//     extent may be deleted. With finish every byte is durable on all replicas.
//   - What is needed to go on elsewhere is in this node's own file up to some offset, and in blocks from there on: a
//     block goes home only when this node's lane has written it too.
//   - The epoch and the birth of the extent are those that it was made with; see append for what a seal in between
//     does.
//
// Order of steps: what this node has applied says that the extent takes appends; the quota covers the bytes; space is
// taken; the block goes to the lanes. At the end the lanes are finished, what the node has applied is looked at once
// more, and the locator is the answer.
//
// With a replica on a node of an older build, each block is made durable everywhere before the next is passed on, by
// append: records of that build say that all before them is acknowledged, which must then be so.
type large struct {
	dp    *Path
	by    *quota.Reservation
	ap    *appender // its turn is taken
	fan   *fan      // nil: by append
	home  chan *block
	end   uint64 // of what was passed on
	moves int
}

// putLarge stores first and all that follows. When it fails, the extent is deleted and the caller may put again:
// nothing was acknowledged.
func (dp *Path) putLarge(ctx context.Context, by *quota.Reservation, first []byte, rest *pieces) (wire.Locator, error) {
	if err := rest.hold(largeBlocks * blockBytes); err != nil {
		return wire.Locator{}, err
	}
	ap, err := dp.appends.create(ctx, by.Tenant)
	if err != nil {
		return wire.Locator{}, err
	}
	l := &large{dp: dp, by: by, home: makeBlocks(largeBlocks, blockBytes)}
	l.begin(ctx, ap)
	if err := l.all(ctx, first, rest); err != nil {
		if l.fan != nil {
			l.fan.stop()
		}
		dp.appends.discard(l.ap, err)
		return wire.Locator{}, err
	}
	defer dp.appends.release(l.ap, true)
	return l.ap.locator(0, l.ap.offset), nil
}

// begin writes to an extent that is empty from now on.
func (l *large) begin(ctx context.Context, ap *appender) {
	l.ap, l.fan = ap, nil
	if l.dp.streams(ctx, ap.extent) {
		l.fan = l.dp.newFan(ctx, ap)
	}
}

func (l *large) all(ctx context.Context, first []byte, rest *pieces) error {
	rest.first = first
	for last := false; !last; {
		b, err := l.block(ctx)
		if err != nil {
			return err
		}
		var n int
		if n, last, err = rest.fill(b.mem); err != nil {
			return err
		}
		if b.p = b.mem[:n]; n == 0 {
			b.home <- b
			continue
		}
		if err := l.take(ctx, b); err != nil {
			return err
		}
	}
	return l.finish(ctx)
}

// block is one that is free, on another extent if the one that is being filled takes no more.
func (l *large) block(ctx context.Context) (*block, error) {
	for {
		b, err := l.freeOf(ctx, l.home)
		if err == nil || ctx.Err() != nil {
			return b, err
		}
		if err := l.moveOn(ctx, err); err != nil {
			return nil, err
		}
	}
}

// freeOf is a free block of home, unless the extent that is being filled takes no more.
func (l *large) freeOf(ctx context.Context, home chan *block) (*block, error) {
	var broken chan struct{}
	if l.fan != nil {
		broken = l.fan.broken
	}
	select {
	case b := <-home:
		return b, nil
	case <-broken:
		return nil, l.fan.stopped()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// take passes a block on.
func (l *large) take(ctx context.Context, b *block) error {
	if err := l.by.Cover(ctx, len(b.p)); err != nil {
		return err
	}
	b.at = l.end
	for {
		err := l.pass(ctx, l.by, b)
		if err == nil {
			l.end += uint64(len(b.p))
			return nil
		}
		if wire.CodeOf(err) == wire.CodeNoSpace {
			return err // no other extent has more room here
		}
		if err := l.moveOn(ctx, err); err != nil {
			return err
		}
	}
}

// pass gives a block to all replicas, at the end of what they have. by is nil if the bytes only move.
func (l *large) pass(ctx context.Context, by *quota.Reservation, b *block) error {
	if l.fan == nil {
		_, err := l.dp.appends.appendPiece(ctx, l.ap, by, b.p)
		if err == nil {
			b.home <- b
		}
		return err
	}
	if err := l.dp.appends.checkTakes(l.ap); err != nil {
		return err
	}
	select {
	case <-l.fan.broken:
		return l.fan.stopped()
	default:
	}
	if err := l.dp.o.Space.Take(wire.OpAppend, len(b.p)); err != nil {
		return err
	}
	l.dp.o.Share.Client()
	by.Stored(l.ap.meter, b.end(), len(b.p))
	l.fan.push(b)
	return nil
}

// finish waits until all is durable on all replicas.
func (l *large) finish(ctx context.Context) error {
	for l.fan != nil {
		err := l.fan.finish()
		if err == nil {
			err = l.dp.appends.checkTakes(l.ap)
		}
		if err == nil {
			l.ap.offset = l.end
			l.dp.o.Store.Acknowledge(extent.ID(l.ap.extent.ID), l.end)
			return nil
		}
		if err := l.moveOn(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// moveOn brings what a large put has stored to another extent, when the first takes no more: a replica has failed, or
// the cell seals it to repair it. The caller of the put notices only latency. The first extent is deleted, and until
// then it and the blocks that it has not taken stay what they are: an extent that fails meanwhile is followed by
// another.
func (l *large) moveOn(ctx context.Context, why error) error {
	old := l.ap
	kept, waiting, err := l.halt()
	if err != nil {
		return noneTook(why, err)
	}
	errs := []error{why}
	for {
		if l.moves++; l.moves > maxMoves || l.end > mostMoved || l.dp.o.Store.Failed() != nil || ctx.Err() != nil {
			return noneTook(errs...)
		}
		next, err := l.dp.appends.create(ctx, quota.TenantOf(old.extent))
		if err != nil {
			return noneTook(append(errs, err)...)
		}
		l.begin(ctx, next)
		if err = l.copyFrom(ctx, old, kept, waiting); err == nil {
			break
		}
		free := l.fan == nil || l.fan.stop()
		l.dp.appends.discard(next, err)
		l.ap, l.fan = old, nil
		if errs = append(errs, err); !free {
			return noneTook(errs...)
		}
	}
	for _, b := range waiting {
		b.goHome()
	}
	l.dp.o.Quotas.Drop(old.extent.ID) // its bytes count where they went
	l.dp.appends.discard(old, why)
	return nil
}

// halt ends what is under way to the extent that takes no more. The first kept bytes are in this node's own file,
// durably; waiting is what was passed on besides, in order.
func (l *large) halt() (kept uint64, waiting []*block, err error) {
	if l.fan != nil && !l.fan.stop() {
		return 0, nil, cmp.Or(l.dp.o.Works(), l.fan.errs[l.dp.o.ID])
	}
	info, err := l.dp.o.Store.Stat(extent.ID(l.ap.extent.ID))
	if err != nil {
		return 0, nil, err
	}
	kept = min(info.Length, l.end)
	if l.fan != nil {
		waiting = l.fan.waiting(kept)
		l.fan = nil
	}
	return kept, waiting, nil
}

// copyFrom passes on what this node has of another extent of the put, and what was waiting behind that.
func (l *large) copyFrom(ctx context.Context, old *appender, kept uint64, waiting []*block) error {
	home, at := makeBlocks(moveBlocks, blockBytes), uint64(0)
	pass := func(p []byte) error {
		b, err := l.freeOf(ctx, home)
		if err != nil {
			return err
		}
		b.p, b.at = append(b.mem[:0], p...), at
		at += uint64(len(p))
		return l.pass(ctx, nil, b)
	}
	if err := l.dp.o.Replicas.EachPiece(ctx, uint64(old.extent.ID), 0, kept, pass); err != nil {
		return err
	}
	for _, b := range waiting {
		if at < b.at {
			break
		}
		if err := pass(b.p[at-b.at:]); err != nil {
			return err
		}
	}
	if at != l.end {
		return fmt.Errorf("of %d bytes that were passed on %d are here", l.end, at)
	}
	return nil
}

// noneTook answers the caller of a put that another node, or another attempt, may do better.
func noneTook(errs ...error) error {
	text := strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; ")
	return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "no extent took the bytes: %s", text)
}
