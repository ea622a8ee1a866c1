package datapath

import (
	"context"
	"testing"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// still is a log that ends where it is.
type still struct{ cell *statetest.Cell }

func (l still) View() *state.View                              { return &l.cell.State.View }
func (l still) Changed() <-chan struct{}                       { return nil }
func (l still) WaitApplied(context.Context, state.Index) error { return nil }

// A create for which there is no place is refused before the cell is asked for it.
func TestNoPlaceNoCreate(t *testing.T) {
	cell := statetest.New()
	cell.RunAll("join n1")
	refused := wire.Errorf(wire.OpSubmit, wire.CodeNoSpace, "no node takes it")
	asked := 0
	works := func() error { return nil }
	c := clock.Of(mux.Clock{})
	dp := New(Options{
		ID: "n1", Log: still{cell}, Clock: c, Works: works, InTouch: works, CreatePatience: time.Minute,
		Quotas: quota.New(quota.Options{View: still{cell}.View}),
		Reach:  replica.NewReachability(replica.ReachabilityOptions{Clock: c}),
		Create: func(context.Context, wire.Submission) (wire.Submitted, error) {
			asked++
			return wire.Submitted{}, refused
		},
	})
	share := func(ctx context.Context, t quota.Tenant) (*appender, error) {
		ap, _, err := dp.appends.put(ctx, &quota.Reservation{Tenant: t}, nil)
		return ap, err
	}
	makes := map[string]func(context.Context, quota.Tenant) (*appender, error){
		"of its own": dp.appends.create, "to share": share,
	}
	dp.appends.creating = maxOpenExtents
	for name, create := range makes {
		if _, err := create(t.Context(), quota.Tenant{}); wire.CodeOf(err) != wire.CodeExhausted || asked != 0 {
			t.Errorf("an extent %s too many: %v, the cell was asked for %d", name, err, asked)
		}
	}
	dp.appends.creating = 0
	for name, create := range makes {
		asked = 0
		if _, err := create(t.Context(), quota.Tenant{}); err != error(refused) || asked != 1 || dp.Open() != 0 {
			t.Errorf("an extent %s: %v, the cell was asked for %d, %d places are taken", name, err, asked, dp.Open())
		}
		if len(dp.appends.lanes) != 0 {
			t.Errorf("an extent %s: a lane is left behind", name)
		}
	}
}
