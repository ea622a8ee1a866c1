package datapath

import (
	"slices"
	"time"
)

// slowBatch is how long puts wait for the batch that is under way. One that comes later goes to another extent: it may
// be on replicas that answer.
const slowBatch = 500 * time.Millisecond

// lane is what the puts of one tenant share. appenders.mu guards it.
//
// One batch is under way at a time, however many extents are open: each batch costs every replica a sync, so those who
// come meanwhile do better together than each in an extent that is free. Another extent is used while a full batch
// waits, or when the batch that is under way takes long.
type lane struct {
	open   []*appender
	making int // extents that are being created for open. Invariant: len(open) + making <= OpenPerTenant.
	// In the order in which they came. Invariant: while there are any, the turn of an open one is taken, or one is
	// being made; who gives it back has them go on.
	queue []*batch
}

// underWay reports whether a put that comes now does well to wait.
func (l *lane) underWay(now time.Time) bool {
	if len(l.open) == 0 {
		return l.making > 0
	}
	return slices.ContainsFunc(l.open, func(ap *appender) bool {
		return len(ap.turn) == 0 && now.Sub(ap.began) < slowBatch
	})
}

// crowded reports whether a batch waits that takes no put of n bytes more, so that another extent would not cost it any
// company.
func (l *lane) crowded(n int) bool {
	if n > copiedBytes || len(l.queue) > 1 {
		return true
	}
	return len(l.queue) == 1 && !l.queue[0].takes(n)
}

// free is an extent that nobody uses, or waits for, its turn taken; nil if there is none.
func (l *lane) free(now time.Time) *appender {
	for _, ap := range l.open {
		if ap.wanted > 0 {
			continue
		}
		select {
		case <-ap.turn:
			ap.began = now
			return ap
		default:
		}
	}
	return nil
}

// join puts p into the last batch that waits, or one behind it. p may be larger than a batch of copies takes: then it
// must stay as it is until the put is done.
func (l *lane) join(w *waiting, p []byte) {
	if len(p) > copiedBytes {
		l.queue = append(l.queue, single(w, p))
		return
	}
	if n := len(l.queue); n == 0 || !l.queue[n-1].takes(len(p)) {
		l.queue = append(l.queue, newBatch())
	}
	l.queue[len(l.queue)-1].add(w, p)
}

// next is the batch that has waited longest, which waits no more; nil if there is none.
func (l *lane) next() *batch {
	if len(l.queue) == 0 {
		return nil
	}
	b := l.queue[0]
	l.queue = slices.Delete(l.queue, 0, 1)
	return b
}

// goOn has what waits go on: one batch if none is under way, and one more for each extent that is free while a full one
// waits. It is called whenever an extent has become free, or is not there any more.
func (l *lane) goOn(now time.Time) {
	for len(l.queue) > 0 && (!l.underWay(now) || l.crowded(0)) {
		ap := l.free(now)
		if ap == nil {
			return
		}
		if !l.hand(ap) {
			ap.turn <- struct{}{}
			return
		}
	}
}

// hand gives the turn of ap to a put of the first batch that anybody waits for, to append it. It reports whether there
// is one.
func (l *lane) hand(ap *appender) bool {
	for b := l.next(); b != nil; b = l.next() {
		for _, w := range b.puts {
			if !w.gone {
				w.lead, w.leads = ap, b
				w.wake <- struct{}{}
				return true
			}
		}
		b.drop() // all callers have left: nobody wants these bytes
	}
	return false
}

// disband has all that wait in a lane without extents try again: one of them makes an extent, or learns why it cannot
// be.
func (l *lane) disband() {
	if len(l.open)+l.making > 0 {
		return
	}
	for b := l.next(); b != nil; b = l.next() {
		for _, w := range b.puts {
			w.again = true
			w.wake <- struct{}{}
		}
		b.drop()
	}
}
