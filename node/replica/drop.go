package replica

import (
	"context"
	"maps"
	"sync"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
)

const (
	// dropsAtOnce bounds the drops under way, from the file to the entry that confirms it.
	dropsAtOnce = 1024
	// dropsOnDisk bounds those that write: fences share their syncs, and so do folders, as far as the system lets them.
	dropsOnDisk = 64
	// dropsBetween is after how many drops the fences of what is forgotten by now are looked for.
	dropsBetween = 4096
)

// dropFiles removes the files that must go, and confirms each once that is durable. It does not wait for one before it
// begins the next, nor for the entry that confirms some before it drops others.
func (x *Executor) dropFiles(ctx context.Context) {
	defer x.wg.Done()
	d := newDropping()
	defer d.wg.Wait()
	begun := 0
	for ctx.Err() == nil {
		changed := x.opt.Log.Changed()
		if x.opt.Ready() {
			begun += x.beginDrops(ctx, x.opt.Log.View(), d)
		}
		if begun >= dropsBetween && d.none() {
			x.opt.ForgetFences(x.opt.Log.View())
			begun = 0
		}
		select {
		case <-changed:
		case <-d.ended:
		case <-x.opt.Clock.After(x.opt.Tick):
		case <-ctx.Done():
		}
	}
}

// dropping are the drops under way, and those that were reported, with the entries that carry that. While such an entry
// is not applied here, which takes long on a node that is behind, the state goes on naming the file.
type dropping struct {
	wg    sync.WaitGroup
	disk  chan struct{} // holds one token for each drop that writes
	ended chan struct{} // holds one token once a drop has ended since it was looked at

	mu       sync.Mutex
	underWay map[state.Gone]struct{}    // Guarded by mu.
	reported map[state.Gone]state.Index // Guarded by mu.
}

func newDropping() *dropping {
	return &dropping{
		disk: make(chan struct{}, dropsOnDisk), ended: make(chan struct{}, 1),
		underWay: map[state.Gone]struct{}{}, reported: map[state.Gone]state.Index{},
	}
}

func (d *dropping) none() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.underWay) == 0
}

// choose takes what is to be begun of the drops that view names: neither under way, nor confirmed by an entry that view
// has not come to. What is named although such an entry is applied is to be reported again.
func (d *dropping) choose(view *state.View, node state.NodeID) (chosen []*state.Gone) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.reported, func(_ state.Gone, index state.Index) bool { return view.Applied >= index })
	if len(d.underWay) >= dropsAtOnce {
		return nil
	}
	view.DropsOn(node, func(e *state.Extent) bool {
		since, _ := e.FormerSince(node)
		g := state.Gone{Extent: e.ID, Node: node, Since: since}
		_, busy := d.underWay[g]
		_, said := d.reported[g]
		if !busy && !said {
			d.underWay[g] = struct{}{}
			chosen = append(chosen, &g)
		}
		return len(d.underWay) < dropsAtOnce
	})
	return chosen
}

// end is called once for each that was chosen. index is the entry that confirms it, 0 when it is to be tried again.
func (d *dropping) end(g *state.Gone, index state.Index) {
	d.mu.Lock()
	delete(d.underWay, *g)
	if index > 0 {
		d.reported[*g] = index
	}
	d.mu.Unlock()
	if index > 0 { // else the next look is not to come at once
		select {
		case d.ended <- struct{}{}:
		default:
		}
	}
}

// beginDrops begins to drop what the view names and nobody has begun, and answers how many that are.
func (x *Executor) beginDrops(ctx context.Context, view *state.View, d *dropping) int {
	chosen := d.choose(view, x.opt.ID)
	for _, g := range chosen {
		d.wg.Go(func() { d.end(g, x.dropOne(ctx, g, d.disk)) })
	}
	return len(chosen)
}

// dropOne waits for work on the extent to end, drops the file and confirms it. It answers the entry that does, 0 when
// there is none.
func (x *Executor) dropOne(ctx context.Context, g *state.Gone, disk chan struct{}) state.Index {
	err := x.idle(ctx, g.Extent)
	if err == nil {
		select {
		case disk <- struct{}{}:
			err = x.drop(g)
			<-disk
		case <-ctx.Done():
			return 0
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			x.opt.Logger.Error("file not dropped", "extent", uint64(g.Extent), "error", err)
		}
		return 0
	}
	a := x.opt.Drops.Propose(ctx, g)
	if a.Err != nil && ctx.Err() == nil {
		x.opt.Logger.Warn("drop not confirmed yet", "extent", uint64(g.Extent), "error", a.Err)
	}
	return a.Index
}

// drop fences off what might still come, and removes the file. No work on the extent goes on any more.
func (x *Executor) drop(g *state.Gone) error {
	id := extent.ID(g.Extent)
	err := x.opt.Store.RaiseFence(id, extent.Fence(g.Since))
	if err != nil && extent.CodeOf(err) != extent.CodeStaleFence {
		return err
	}
	return x.opt.Store.Drop(id)
}
