package replica

import (
	"slices"
	"sync"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
)

// fencesAtOnce bounds the fences that are forgotten together: they share a sync.
const fencesAtOnce = 64

// ForgetFences forgets the fences of extents that the cell has forgotten; the file of fences would grow for ever.
//
// A fence keeps a late step of an older operation from an extent. Of these extents there is none any more: the number
// is never given to another, and a step for it is refused before the store is asked, because no operation on it runs.
// That is why view must be one that this node has applied: in it the extent was made, and is gone.
func (rs *Replicas) ForgetFences(view *state.View) {
	var forgotten []extent.ID
	for _, id := range rs.store.Bare() {
		if state.ExtentID(id) < view.NextExtent && view.Extent(state.ExtentID(id)) == nil {
			forgotten = append(forgotten, id)
		}
	}
	for some := range slices.Chunk(forgotten, fencesAtOnce) {
		var wg sync.WaitGroup
		for _, id := range some {
			wg.Go(func() {
				if err := rs.store.ForgetFence(id); err != nil { // it is found again, at the latest by the next start
					rs.logger.Debug("fence not forgotten", "extent", uint64(id), "error", err)
				}
			})
		}
		wg.Wait()
	}
}
