package scrub

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
)

// recentFor is how long before the last write to a store the writes began that are looked at first.
const recentFor = time.Hour

// way is how a replica is read: as Store.Scrub does.
type way func(id extent.ID, birth extent.Birth, length uint64, pace func(bytes int) error) (uint32, error)

// recent reads what was written last before the node started, before any round, and from the disk itself.
//
// A disk that fails may lose what it has said to be durable: a thin one that fills, or one whose cache lies. What the
// system's cache has of it reads well until it is dropped. It is the last writes that are in danger, so they come
// first, and come at every start: a store on a failed disk cannot note that it has failed. Files say themselves when
// they were written; how long the node was down does not matter. An extent that was open is sealed by the others
// meanwhile, and what this node has of it is read in full for that.
func (s *Scrubber) recent(ctx context.Context) error {
	for _, id := range s.written() {
		if err := s.read(ctx, id, s.opt.Store.ScrubDisk); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// written are the extents whose files were written within recentFor of the last write to any.
func (s *Scrubber) written() (ids []state.ExtentID) {
	type file struct {
		id   state.ExtentID
		when int64 // nanoseconds since 1970
	}
	var files []file
	s.opt.View().ReplicasOn(s.opt.ID, func(e *state.Extent) bool {
		files = append(files, file{id: e.ID})
		return true
	})
	last := int64(0)
	for i := range files {
		if when := s.opt.Store.Written(extent.ID(files[i].id)); !when.IsZero() {
			files[i].when = when.UnixNano()
			last = max(last, files[i].when)
		}
	}
	for _, f := range files {
		if f.when != 0 && last-f.when <= int64(recentFor) {
			ids = append(ids, f.id)
		}
	}
	return ids
}
