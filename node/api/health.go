package api

import (
	"context"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeHealth answers all who ask at once with one look: it takes a consistent read.
func (a *API) ServeHealth(ctx context.Context, c *mux.ServerCall, req wire.HealthRequest) error {
	if relayed, err := a.atNode(ctx, c, req.Node); relayed {
		return err
	}
	reply, err, _ := a.looks.Do("health", func() (any, error) {
		return &wire.HealthReply{Node: string(a.o.Node), Checks: a.o.Health()}, nil
	})
	if err != nil {
		return err
	}
	return c.Reply(reply, nil)
}

// ServeConns answers all who ask at once with one scan of the connections: it looks at every call in flight, theirs
// too.
func (a *API) ServeConns(_ context.Context, c *mux.ServerCall) error {
	reply, err, _ := a.looks.Do("conns", func() (any, error) {
		return &wire.ConnsReply{Node: string(a.o.Node), Conns: a.o.Conns()}, nil
	})
	if err != nil {
		return err
	}
	return c.Reply(reply, nil)
}
