package node

import (
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A node speaks for itself only: a heartbeat, a join and a report name the node that sends them, which is the one of
// its certificate, or, in plaintext, of its hello. What it may say of others is what it has seen of them: that a
// replica cannot be read, or that it reads as the log has it.

// namesNode refuses a call between nodes whose caller does not say which node it is, as anybody can in plaintext.
func namesNode(c *mux.ServerCall) error {
	switch c.Op() {
	case wire.OpReplicaCreate, wire.OpReplicaAppend, wire.OpReplicaFence, wire.OpReplicaRead:
		return nil // steps: what runs is carried out by somebody, whom they are held against
	}
	if transport.RoleFor(c.Op()) != pki.RoleNode || c.Peer().Node != "" {
		return nil
	}
	return wire.Errorf(c.Op(), wire.CodeDenied, "%s is a call between nodes, and this hello names none", c.Op())
}

// checkOwner refuses a submission that says whose its extent is to be, unless a node does on behalf of a put.
func checkOwner(op wire.OpType, req *wire.SubmitRequest, owner string) error {
	switch {
	case owner == "":
	case !req.Cell:
		return wire.Errorf(op, wire.CodeDenied, "an extent is of who asks for it; only nodes ask for one of %q", owner)
	case len(owner) > wire.MaxIdentityBytes || !wire.Plain(owner):
		return wire.Errorf(op, wire.CodeInvalid, "owner %q: want role and name of a certificate", wire.Clip(owner, wire.MaxIdentityBytes))
	}
	return nil
}
