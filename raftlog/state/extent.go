package state

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// ExtentState is where an extent stands. Numbered by hand: part of the snapshot format.
type ExtentState uint8

const (
	ExtentCreating ExtentState = 1 // its create runs; not appendable yet
	ExtentOpen     ExtentState = 2 // appendable under its epoch
	ExtentSealed   ExtentState = 3 // final length and sum are known
	ExtentDeleted  ExtentState = 4 // a tombstone, until every file is known to be gone
)

var extentStateNames = [...]string{"", "creating", "open", "sealed", "deleted"}

func (s ExtentState) String() string { return name(extentStateNames[:], uint8(s)) }

// ReplicaState says how far a replica can be trusted.
type ReplicaState uint8

const (
	ReplicaWhole ReplicaState = 1 // holds every acknowledged byte
	// missed the seal, or was found damaged: not counted, and read only where no other can be
	ReplicaSuspect ReplicaState = 2
)

func (s ReplicaState) String() string { return name([]string{"", "whole", "suspect"}, uint8(s)) }

// Replica is one node's copy of an extent.
type Replica struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  NodeID
	State ReplicaState
}

// Former is a node that may still hold a file that must go.
type Former struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  NodeID
	Since Index // of the entry that made it one; a confirmation names it
}

// Extent is what the cell knows about one extent. Values are immutable once stored: changes are made
// to a clone.
type Extent struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	ID    ExtentID
	State ExtentState
	Class string // at most policies.ClassBytes long
	Want  uint8  // replicas asked for

	// Gen counts the changes that matter to a decision. A decision made under another generation
	// is refused by Apply and made again.
	Gen uint64
	// Epoch is the fence of the create: appends carry it, and a seal raises the replicas' fences
	// above it, so that a primary that was cut off can acknowledge nothing more.
	Epoch Fence

	// Length and Sum are those of the sealed extent: bytes, and CRC-32C over all of them.
	Length uint64
	Sum    uint32

	// Replicas: the first is the primary while open. Invariant: no node twice, none also in Former.
	Replicas []Replica
	// Former: the tombstone of a deleted extent is kept until it is empty.
	Former []Former

	// Ops are the open operations on this extent, in the order of admission.
	Ops []OpID

	CreatedMicros Micros

	// Damaged says that no replica is known to have all of a sealed extent: what is lost lies in [DamagedFrom,
	// DamagedTo). Nothing is copied over its replicas, and none is given up, until one proves to be whole: see Proven.
	// Without a whole replica Sum means nothing, and Length is how much is known to have been there.
	Damaged                bool
	DamagedFrom, DamagedTo uint64

	Owner Identity // whose it is; empty where nobody can tell

	// Punched is how many of its bytes are deleted, in so many holes: see Punch.
	Punched uint64
	Holes   uint32

	// KeptUntil is when the grace of a delete ends: before, the extent can be brought back, and its files stay. 0: its
	// files go, or it is not deleted. GraceEnded is when that of a tombstone has ended; 0: it never had any.
	KeptUntil, GraceEnded Micros
}

func (e *Extent) clone() *Extent {
	c := *e
	c.Replicas = slices.Clone(e.Replicas)
	c.Former = slices.Clone(e.Former)
	c.Ops = slices.Clone(e.Ops)
	return &c
}

// Replica is the replica on node; ok is false when there is none.
func (e *Extent) Replica(node NodeID) (r Replica, ok bool) {
	for _, r := range e.Replicas {
		if r.Node == node {
			return r, true
		}
	}
	return Replica{}, false
}

// Whole is how many replicas can be trusted, on whatever nodes.
func (e *Extent) Whole() int {
	n := 0
	for _, r := range e.Replicas {
		if r.State == ReplicaWhole {
			n++
		}
	}
	return n
}

// Written reports whether it may hold what was acknowledged.
func (e *Extent) Written() bool { return e.State == ExtentOpen || e.State == ExtentSealed }

// Lacks reports whether it has fewer whole replicas than wanted, on whatever nodes. An open one may: it was made while
// too few nodes took replicas.
func (e *Extent) Lacks() bool { return e.Written() && e.Whole() < int(e.Want) }

// Hollow reports whether every byte of it is deleted, and nothing will be written to it any more.
func (e *Extent) Hollow() bool {
	return e.State == ExtentSealed && e.Length > 0 && e.Punched == e.Length
}

// unsealed reports whether it may still be written to.
func (e *Extent) unsealed() bool { return e.State == ExtentCreating || e.State == ExtentOpen }

// doubted reports whether a replica is suspect.
func (e *Extent) doubted() bool { return e.Whole() < len(e.Replicas) }

// Fit reports whether an open extent can be appended to: every replica must be able to take it.
func (e *Extent) Fit() bool { return e.State == ExtentOpen && !e.doubted() }

// Birth tells this extent from another with the same number in a history of the cell that has diverged from this
// one: it follows from when, to the microsecond, the extent was created. Never 0.
func (e *Extent) Birth() uint32 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(e.ID))
	binary.LittleEndian.PutUint64(b[8:], uint64(e.CreatedMicros))
	return max(1, crc32.Checksum(b[:], crc32.MakeTable(crc32.Castagnoli)))
}

// Primary is the node that appends go to. Empty for a deleted extent.
func (e *Extent) Primary() NodeID {
	if len(e.Replicas) == 0 {
		return ""
	}
	return e.Replicas[0].Node
}

// MayHoldFile reports whether the cell expects a file of this extent on node, wanted or not.
func (e *Extent) MayHoldFile(node NodeID) bool {
	_, ok := e.Replica(node)
	_, former := e.FormerSince(node)
	return ok || former
}

// FormerSince says since which entry node must drop its file; ok is false when it need not.
func (e *Extent) FormerSince(node NodeID) (since Index, ok bool) {
	for _, f := range e.Former {
		if f.Node == node {
			return f.Since, true
		}
	}
	return 0, false
}

// setReplica adds a replica or changes the state of one. A node that holds one is no former holder.
func (e *Extent) setReplica(node NodeID, st ReplicaState) {
	e.dropFormer(node)
	for i := range e.Replicas {
		if e.Replicas[i].Node == node {
			e.Replicas[i].State = st
			return
		}
	}
	e.Replicas = append(e.Replicas, Replica{Node: node, State: st})
}

func (e *Extent) dropFormer(node NodeID) {
	e.Former = slices.DeleteFunc(e.Former, func(f Former) bool { return f.Node == node })
}

func (e *Extent) dropReplica(node NodeID) {
	e.Replicas = slices.DeleteFunc(e.Replicas, func(r Replica) bool { return r.Node == node })
}

// retire makes node a former holder: its file, if there is one, must go.
func (e *Extent) retire(at moment, node NodeID) {
	e.dropReplica(node)
	if _, already := e.FormerSince(node); !already {
		e.Former = append(e.Former, Former{Node: node, Since: at.index})
	}
}
