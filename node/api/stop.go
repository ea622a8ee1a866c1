package api

import (
	"context"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeStop says whether nodes could be stopped now, on the leader: only it hears who is there.
func (a *API) ServeStop(ctx context.Context, c *mux.ServerCall, req wire.StopRequest) error {
	done, err := a.turn(ctx, c, fair.WorkLists)
	if err != nil {
		return err
	}
	defer done()
	req.Limit = pageLimit(req.Limit)
	reply, err := a.o.Lead.Stopping(ctx, req)
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}
