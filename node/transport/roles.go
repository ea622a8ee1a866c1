package transport

import (
	"cmp"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Caller is who is at the other end of an accepted connection. The zero value is anybody, in plaintext.
type Caller struct {
	secure bool
	pki.Identity
}

// CallerWith is the holder of a certificate.
func CallerWith(id pki.Identity) Caller { return Caller{secure: true, Identity: id} }

// NodeCaller is a node with its certificate.
func NodeCaller(node string) Caller { return CallerWith(pki.Identity{Role: pki.RoleNode, Name: node}) }

// ID is who the caller is, empty for anybody.
func (w Caller) ID() state.Identity {
	if !w.secure {
		return ""
	}
	return state.Identity(string(w.Role) + "/" + w.Name)
}

// Describe is who the caller is for people who read the log. node is what its hello says.
func (w Caller) Describe(node string) string {
	if !w.secure {
		return cmp.Or(node, "a client")
	}
	return w.String()
}

// provenNode reports whether a certificate proves the caller a node.
func (w Caller) provenNode() bool { return w.secure && w.Role == pki.RoleNode }

// mayClaim says why the caller may not say in its hello that it is this node, empty for none; nil when it may. A node's
// certificate is for its own connections only.
func (w Caller) mayClaim(node string) error {
	switch {
	case !w.secure:
		return nil
	case w.Role == pki.RoleNode && node != w.Name:
		return wire.Errorf(0, wire.CodeDenied, "hello of node %q with the certificate of %s", node, w)
	case w.Role != pki.RoleNode && node != "":
		return wire.Errorf(0, wire.CodeDenied, "hello of node %q with the certificate of %s", node, w)
	}
	return nil
}

// MayCall says why the caller may not make a call, nil when it may: the one place where roles decide. It comes before a
// call is passed on; the next node sees this one's certificate.
func (w Caller) MayCall(c *mux.ServerCall) error {
	if !w.secure {
		if c.OnBehalf() != "" {
			return wire.Errorf(c.Op(), wire.CodeDenied, "without certificates nobody asks on behalf of another, such as %s",
				c.OnBehalf())
		}
		return nil
	}
	// Calls may come before the connection's claim is judged.
	if err := w.mayClaim(c.Peer().Node); err != nil {
		return err
	}
	if c.OnBehalf() != "" && w.Role != pki.RoleNode {
		return wire.Errorf(c.Op(), wire.CodeDenied, "%s may not ask on behalf of %s; only nodes pass on what others ask",
			w, c.OnBehalf())
	}
	need := RoleFor(c.Op())
	if w.Role != pki.RoleNode && c.Op() == wire.OpSubmit {
		var req wire.SubmitRequest
		if err := c.Decode(&req); err != nil {
			return err
		}
		need = needsSubmit(&req)
	}
	if !atLeast(w.Role, need) {
		return wire.Errorf(c.Op(), wire.CodeDenied, "%s may not do this; it needs a certificate with the role %s", w, need)
	}
	return nil
}

// atLeast reports whether a role includes another: nodes may do what admins may, and they what clients may.
func atLeast(have, need pki.Role) bool {
	switch have {
	case pki.RoleNode:
		return true
	case pki.RoleAdmin:
		return need == pki.RoleAdmin || need == pki.RoleClient
	case pki.RoleClient:
		return need == pki.RoleClient
	}
	return false
}

// RoleFor is the role that a call takes. What is not named here takes the highest.
func RoleFor(op wire.OpType) pki.Role {
	switch op {
	case wire.OpPut, wire.OpRead, wire.OpAppend, wire.OpPunch, wire.OpUndelete, wire.OpVerify, wire.OpSession,
		wire.OpSubmit, // see needsSubmit
		wire.OpOps, wire.OpShowOp, wire.OpExtents, wire.OpNodes, wire.OpStatus, wire.OpConns, wire.OpWait,
		wire.OpSettings, wire.OpInventory, wire.OpHealth, wire.OpScrub, wire.OpDisks, wire.OpPolicies, wire.OpStop,
		wire.OpBalance, wire.OpBlocked,
		wire.OpLogList, wire.OpLogVerify, wire.OpLogChain:
		return pki.RoleClient
	case wire.OpCancel, wire.OpReorder, wire.OpNodeRemove, wire.OpPause, wire.OpSetting, wire.OpDiskChange,
		wire.OpPolicyLoad, wire.OpPolicyActivate, wire.OpPolicyRollback,
		wire.OpLogSnapshots, wire.OpLogSnapshot:
		return pki.RoleAdmin
	}
	return pki.RoleNode
}

// needsSubmit is the role that a submit takes. Clients manage extents; where copies are and which nodes
// hold any is for admins, and so is overriding a check.
func needsSubmit(req *wire.SubmitRequest) pki.Role {
	switch {
	case req.Cell:
		return pki.RoleNode
	case req.Force:
		return pki.RoleAdmin
	}
	for _, s := range req.Submit {
		switch s.Kind {
		case "create", "seal", "delete":
		default:
			return pki.RoleAdmin
		}
	}
	return pki.RoleClient
}
