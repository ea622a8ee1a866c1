package raftlog

import (
	"iter"
	"runtime"
	"sync"
)

// A log is read by several goroutines: one goes through the pages, as many as there are processors decode what it
// finds, a batch each, and the caller gets the results in order. Batches are used again once the caller is done with
// them, so that memory does not grow with the log, and a reader that is slow holds the others up.

const (
	batchRecords = 512
	batchBytes   = 256 << 10
	// firstRecords bounds the first batch: who wants one entry does not wait for hundreds.
	firstRecords = 8
)

// batch is some records that follow each other, and what became of them.
type batch[T any] struct {
	bytes   []byte // that the records' raw is in
	records []storedRecord
	out     []T
	done    chan struct{} // gets a value when out is complete
}

// add copies a record into the batch.
func (b *batch[T]) add(r storedRecord) {
	start := len(b.bytes)
	b.bytes = append(b.bytes, r.raw...) // where it moves, the records before keep the old one
	r.raw = b.bytes[start:len(b.bytes):len(b.bytes)]
	b.records = append(b.records, r)
}

func (b *batch[T]) reset() { b.bytes, b.records, b.out = b.bytes[:0], b.records[:0], b.out[:0] }

// inOrder hands out what decode makes of each record, in the order of the records. decode runs on several goroutines;
// what it answers may alias the record, and is good until the next one is asked for. All goroutines have ended when the
// loop has.
func inOrder[T any](records iter.Seq[storedRecord], decode func(storedRecord) T) iter.Seq[T] {
	return func(yield func(T) bool) {
		workers := runtime.GOMAXPROCS(0)
		var running sync.WaitGroup
		quit := make(chan struct{})
		free, todo, order := make(chan *batch[T], 2*workers+1), make(chan *batch[T]), make(chan *batch[T], 2*workers+1)
		for range cap(free) {
			free <- &batch[T]{done: make(chan struct{}, 1)}
		}
		for range workers {
			running.Go(func() {
				for b := range todo {
					for _, r := range b.records {
						b.out = append(b.out, decode(r))
					}
					b.done <- struct{}{}
				}
			})
		}
		running.Go(func() {
			defer close(order)
			defer close(todo)
			fillBatches(records, free, quit, func(b *batch[T]) bool {
				order <- b // has room for all that there are
				select {
				case todo <- b:
					return true
				case <-quit:
					return false
				}
			})
		})
		defer running.Wait()
		defer close(quit)
		for b := range order {
			<-b.done
			for _, v := range b.out {
				if !yield(v) {
					return
				}
			}
			b.reset()
			free <- b
		}
	}
}

// fillBatches puts records into free batches and hands those on that are full, and the last one.
func fillBatches[T any](records iter.Seq[storedRecord], free <-chan *batch[T], quit <-chan struct{},
	full func(*batch[T]) bool) {
	var b *batch[T]
	most := firstRecords
	for r := range records {
		if b == nil {
			select {
			case b = <-free:
			case <-quit:
				return
			}
		}
		b.add(r)
		if len(b.records) < most && len(b.bytes) < batchBytes {
			continue
		}
		if most = min(most*4, batchRecords); !full(b) {
			return
		}
		b = nil
	}
	if b != nil {
		full(b)
	}
}
