package node

import (
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// namesNode refuses a call between nodes whose caller does not say which node it is, as anybody can in plaintext.
func namesNode(c *mux.ServerCall) error {
	switch c.Op() {
	case wire.OpReplicaCreate, wire.OpReplicaAppend, wire.OpReplicaFence, wire.OpReplicaRead:
		return nil // steps, except OpReplicaSum, for which no operation runs: each is compared with who carries out what runs
	}
	if transport.RoleFor(c.Op()) != pki.RoleNode || c.Peer().Node != "" {
		return nil
	}
	return wire.Errorf(c.Op(), wire.CodeDenied, "%s is a call between nodes, and this hello names none", c.Op())
}
