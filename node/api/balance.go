package api

import (
	"context"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeBalance says which replicas would be moved so that disks are as full as each other.
func (a *API) ServeBalance(ctx context.Context, c *mux.ServerCall, req wire.BalanceRequest) error {
	done, err := a.turn(ctx, c, fair.WorkLists)
	if err != nil {
		return err
	}
	defer done()
	return c.Reply(describe.Balance(a.o.Log.View(), pageLimit(req.Limit)), nil)
}
