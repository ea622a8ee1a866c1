package connlimit

import (
	"cmp"

	"github.com/datanode/datanode/wire/mux"
)

// What the peers of all connections can make this node hold. With the most connections there may be, and the reserve of
// each, it is little more than a gigabyte.
const (
	// ClientPoolBytes is shared by clients and, in plaintext, nodes, unless a node is told another number; NodePoolBytes
	// by nodes with a certificate, whom clients cannot crowd out.
	ClientPoolBytes = 256 << 20
	NodePoolBytes   = 128 << 20
	// ConnReserveBytes is what each connection has in any case: about a chunk, or thirty small calls.
	ConnReserveBytes = 512 << 10
)

// budgets bound the memory behind connections.
type budgets struct{ clients, nodes *mux.Budget }

func newBudgets(clientBytes int) budgets {
	return budgets{
		clients: mux.NewBudget(cmp.Or(clientBytes, ClientPoolBytes), ConnReserveBytes),
		nodes:   mux.NewBudget(NodePoolBytes, ConnReserveBytes),
	}
}

// shares are what the connections from one IP address have of each.
type shares struct{ clients, nodes *mux.Share }

func (b budgets) newShares() shares { return shares{b.clients.NewShare(), b.nodes.NewShare()} }

// of is the share of a connection: provenNode says that a certificate proves it a node's.
func (s shares) of(provenNode bool) *mux.Share {
	if provenNode {
		return s.nodes
	}
	return s.clients
}
