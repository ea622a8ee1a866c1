package describe

import (
	"math"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Usage is what is used of the quotas, by name; one of each class or identity is described for those of which
// something is kept, most of them at most. unsealed are the bytes of open extents that count under one.
func Usage(
	view *state.View, unsealed func(*state.View, *state.Quota) uint64, most int,
) (all []wire.QuotaUsage) {
	describe := func(q state.Quota) {
		used := view.Used(q.By, q.Name)
		u := wire.QuotaUsage{
			By: q.By.String(), Name: q.Name, Bytes: used.Bytes + unsealed(view, &q), Extents: used.Extents,
			MostBytes: wire.NoLimit, MostExtents: wire.NoLimit,
		}
		if q.Bytes != state.Unbounded {
			u.MostBytes = int64(min(q.Bytes, math.MaxInt64))
		}
		if q.Extents != state.Unbounded {
			u.MostExtents = int64(q.Extents)
		}
		all = append(all, u)
	}
	for _, q := range view.Settings.Quotas {
		if !q.Each {
			describe(q)
			continue
		}
		view.EachUsed(q.By, func(name string, _ state.Usage) bool {
			own, _ := view.Settings.QuotaOf(q.By, name)
			if !slices.Contains(view.Settings.Quotas, own) { // it is this one's
				describe(own)
			}
			return len(all) < most
		})
	}
	return all
}
