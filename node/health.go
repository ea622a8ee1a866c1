package node

import (
	"context"

	"github.com/datanode/datanode/node/health"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// serveHealth answers all who ask at once with one look: it takes a consistent read.
func (n *Node) serveHealth(ctx context.Context, c *mux.ServerCall, req wire.HealthRequest) error {
	if relayed, err := n.atNode(ctx, c, req.Node); relayed {
		return err
	}
	reply, err, _ := n.stocktaking.Do("health", func() (any, error) {
		ctx, cancel := context.WithTimeout(n.ctx, health.Limit)
		defer cancel()
		reply := wire.HealthReply{Node: string(n.id), Checks: []wire.HealthCheck{}}
		for _, found := range n.checks(ctx) {
			reply.Checks = append(reply.Checks, wire.HealthCheck{Name: found.Name, Level: found.Level, Detail: found.Detail})
		}
		return &reply, nil
	})
	if err != nil {
		return err
	}
	return c.Reply(reply, nil)
}
