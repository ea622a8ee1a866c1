package wire

import "fmt"

// OpType names what a frame is about. Every frame of a call carries the same one, and both sides
// check it. The numbers are part of the wire format: never reused, only appended.
type OpType uint16

const (
	// Bytes, for clients.
	OpPut    OpType = 1 // chunks in, locator out
	OpRead   OpType = 2 // range in, chunks out
	OpAppend OpType = 3 // chunks in, to one open extent
	OpVerify OpType = 4 // compare one replica, or all, with the log

	// Operations and what is known of them.
	OpSession   OpType = 10 // open a client session for idempotent submits
	OpSubmit    OpType = 11
	OpCancel    OpType = 12
	OpOps       OpType = 13
	OpShowOp    OpType = 14
	OpExtents   OpType = 15
	OpNodes     OpType = 16
	OpStatus    OpType = 17
	OpConns     OpType = 18
	OpWait      OpType = 19 // answers when an operation has ended, or with where it stands
	OpSettings  OpType = 20
	OpSetting   OpType = 21 // set one
	OpInventory OpType = 22 // extent files on a node's disk
	// OpNodeRemove forgets a node that is decommissioned, or down.
	OpNodeRemove OpType = 23
	// OpReorder puts a queued operation before others of its kind.
	OpReorder OpType = 24
	OpHealth  OpType = 25 // a node's checks

	// Policies.
	OpPolicyLoad     OpType = 30
	OpPolicyActivate OpType = 31
	OpPolicyRollback OpType = 32
	OpPolicies       OpType = 33
	OpPolicyFetch    OpType = 34 // between nodes: a module's bytes by digest

	// The operation log.
	OpLogList   OpType = 40
	OpLogVerify OpType = 41
	OpLogChain  OpType = 42
	// OpLogSnapshots lists the snapshots of a log, and OpLogSnapshot sends a piece of one; for admins.
	OpLogSnapshots OpType = 43
	OpLogSnapshot  OpType = 44

	// Between nodes.
	OpJoin          OpType = 50
	OpHeartbeat     OpType = 51
	OpPropose       OpType = 52
	OpReplicaCreate OpType = 53
	OpReplicaAppend OpType = 54
	OpReplicaFence  OpType = 55
	OpReplicaRead   OpType = 56
	OpReplicaSum    OpType = 57

	// OpScrub says how far a node's scrub is; for clients.
	OpScrub OpType = 58

	// OpPunch deletes ranges of extents; for clients.
	OpPunch OpType = 59

	// OpDisks says how the disks of a node are; for clients.
	OpDisks OpType = 60

	// OpDiskChange has a disk of a node drained, or no longer; for clients.
	OpDiskChange OpType = 61

	// OpReach answers once the entry that the call names is applied; between nodes.
	OpReach OpType = 62

	// OpStop says whether nodes could be stopped now; for clients.
	OpStop OpType = 63

	// OpPause plans a stop of a node, or ends that; for clients.
	OpPause OpType = 64

	// OpBalance says which replicas would be moved so that disks are as full as each other; for clients.
	OpBalance OpType = 65

	// OpBlocked lists what waits, and for what; for clients.
	OpBlocked OpType = 66

	// OpUndelete brings back an extent that was deleted with grace; for clients.
	OpUndelete OpType = 67
)

var opNames = map[OpType]string{
	OpPut: "put", OpRead: "read", OpAppend: "append", OpVerify: "verify",
	OpSession: "session", OpSubmit: "submit", OpCancel: "cancel", OpOps: "ops", OpShowOp: "show-op",
	OpExtents: "extents", OpNodes: "nodes", OpStatus: "status", OpConns: "conns", OpWait: "wait",
	OpSettings: "settings", OpSetting: "setting", OpInventory: "inventory", OpNodeRemove: "node-remove",
	OpReorder:    "reorder",
	OpPolicyLoad: "policy-load", OpPolicyActivate: "policy-activate", OpPolicyRollback: "policy-rollback",
	OpPolicies: "policies", OpPolicyFetch: "policy-fetch",
	OpLogList: "log-list", OpLogVerify: "log-verify", OpLogChain: "log-chain",
	OpLogSnapshots: "log-snapshots", OpLogSnapshot: "log-snapshot",
	OpJoin: "join", OpHeartbeat: "heartbeat", OpPropose: "propose",
	OpReplicaCreate: "replica-create", OpReplicaAppend: "replica-append", OpReplicaFence: "replica-fence",
	OpReplicaRead: "replica-read", OpReplicaSum: "replica-sum", OpScrub: "scrub",
	OpHealth: "health", OpPunch: "punch", OpDisks: "disks", OpDiskChange: "disk-change", OpReach: "reach",
	OpStop: "ok-to-stop", OpPause: "node-pause", OpBalance: "balance", OpBlocked: "blocked",
	OpUndelete: "undelete",
}

// Known reports whether o is an operation type of this protocol version.
func (o OpType) Known() bool { return opNames[o] != "" }

func (o OpType) String() string {
	if s, ok := opNames[o]; ok {
		return s
	}
	return fmt.Sprintf("op(%d)", uint16(o))
}
