package replica

import (
	"context"
	"maps"
	"sync"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/raftlog/state"
)

// dropsAtOnce bounds the drops whose confirmations are reported together.
const dropsAtOnce = 256

// dropsBetween is after how many batches of drops the fences of what is forgotten by now are looked for.
const dropsBetween = 64

// dropFiles removes the files that must go, and confirms each once that is durable.
func (x *Executor) dropFiles(ctx context.Context) {
	defer x.wg.Done()
	done := confirmations{}
	dropped := 0
	for ctx.Err() == nil {
		changed := x.opt.Log.Changed()
		if x.opt.Ready() && x.dropBatch(ctx, x.opt.Log.View(), done) {
			dropped++
			continue
		}
		if dropped >= dropsBetween {
			x.opt.ForgetFences(x.opt.Log.View())
			dropped = 0
		}
		select {
		case <-changed:
		case <-x.opt.Clock.After(x.opt.Tick):
		case <-ctx.Done():
		}
	}
}

// confirmations are the drops that were reported, and the entries that carry that. While such an entry is not applied
// here, which takes long on a node that is behind, the state goes on naming the file.
type confirmations map[state.Gone]state.Index

// reported reports whether the drop is confirmed by an entry that view has not come to. It forgets those that view has.
func (c confirmations) reported(view *state.View, g *state.Gone) bool {
	index, ok := c[*g]
	if ok && view.Applied >= index {
		delete(c, *g) // applied, and the file is still named: it is to be reported again
		return false
	}
	return ok
}

// forget drops what view has come to.
func (c confirmations) forget(view *state.View) {
	maps.DeleteFunc(c, func(_ state.Gone, index state.Index) bool { return view.Applied >= index })
}

// dropBatch drops what the view names and nobody has reported yet, up to dropsAtOnce. It reports whether there may be
// more to do at once.
func (x *Executor) dropBatch(ctx context.Context, view *state.View, done confirmations) (more bool) {
	done.forget(view)
	var drops []*state.Gone
	view.DropsOn(x.opt.ID, func(e *state.Extent) bool {
		since, _ := e.FormerSince(x.opt.ID)
		if g := (&state.Gone{Extent: e.ID, Node: x.opt.ID, Since: since}); !done.reported(view, g) {
			drops = append(drops, g)
		}
		return len(drops) < dropsAtOnce
	})
	var confirmed []*state.Gone
	for _, g := range drops {
		if err := x.drop(ctx, g); err != nil {
			if ctx.Err() == nil {
				x.opt.Logger.Error("file not dropped", "extent", uint64(g.Extent), "error", err)
			}
			continue
		}
		confirmed = append(confirmed, g)
	}
	answers := make([]report.Answer, len(confirmed))
	var wg sync.WaitGroup
	for i, g := range confirmed {
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers[i] = x.opt.Drops.Propose(ctx, g)
		}()
	}
	wg.Wait()
	for i, g := range confirmed {
		switch err := answers[i].Err; {
		case err == nil:
			done[*g], more = answers[i].Index, true
		case ctx.Err() == nil:
			x.opt.Logger.Warn("drop not confirmed yet", "extent", uint64(g.Extent), "error", err)
		}
	}
	return more
}

// drop waits for work on the extent to end, fences off what might still come, and removes the file.
func (x *Executor) drop(ctx context.Context, g *state.Gone) error {
	if err := x.idle(ctx, g.Extent); err != nil {
		return err
	}
	id := extent.ID(g.Extent)
	err := x.opt.Store.RaiseFence(id, extent.Fence(g.Since))
	if err != nil && extent.CodeOf(err) != extent.CodeStaleFence {
		return err
	}
	return x.opt.Store.Drop(id)
}
