package node

import (
	"context"
	"fmt"
	"strings"

	"github.com/datanode/datanode/raftlog/state"
)

// lookIntoStore opens the store to the end, beside everything else: a node that holds many extents votes, follows the
// log and sends heartbeats meanwhile. It serves only afterwards. Whoever uses an extent before waits for its
// file alone.
func (n *Node) lookIntoStore(ctx context.Context) {
	found, err := n.recovery.Run(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		n.fail(fmt.Errorf("data folder %s: %w", n.cfg.Dir, err))
		return
	}
	n.logger.Info("store opened", "found", strings.TrimSpace(found.String()))
	close(n.opens)
}

// storeOpen reports whether the store has been opened to the end.
func (n *Node) storeOpen() bool { return isClosed(n.opens) }

// reconcile compares the store with the log once it is open: with the view of then, if it had to wait.
func (n *Node) reconcile(ctx context.Context, view *state.View) error {
	if !n.storeOpen() {
		select {
		case <-n.opens:
			view = n.log.View()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return n.replicas.Reconcile(ctx, view)
}
