package demo

import (
	"context"
	"sync"

	"github.com/datanode/datanode/cmd/datanode/internal/term"
)

// each calls f for all items, demoWorkers at a time. The first error ends it.
func each[T any](ctx context.Context, items []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan T)
	var workers sync.WaitGroup
	for range inParallel {
		workers.Go(func() {
			for item := range queue {
				if err := f(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, item := range items {
		select {
		case queue <- item:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

// tally counts things as they are done, and shows it.
type tally struct {
	bar   *term.Progress // nil without a terminal
	total int

	mu    sync.Mutex
	done  int   // guarded by mu
	bytes int64 // guarded by mu
}

func (r *Replay) newTally(name string, total int) *tally {
	return &tally{bar: r.App.NewProgress(name, ""), total: total}
}

func (t *tally) add(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	t.bytes += bytes
	t.bar.Set(int64(t.done), int64(t.total))
}

func (t *tally) end() { t.bar.End() }
