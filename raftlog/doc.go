// Package raftlog is the replicated operation log of a cell: one raft group whose entries carry the
// commands of package state. It appends entries, applies them to the state on every node, keeps
// snapshots, and reads the log back for people.
//
// # Entry
//
//	+-------+---------+------+-------+-------+--------+--------+------+--------+
//	| magic | version | type | flags | group | micros | length | body | CRC32C |
//	| 4     | u8      | u8   | u16   | u64   | i64    | u32    |      | u32    |
//	+-------+---------+------+-------+-------+--------+--------+------+--------+
//
// Integers are little-endian; the CRC covers all that precedes it. The body is a msgpack array of
// [command type, command]. This frame is for ever: version and type only say how to read the body,
// so that a node can skip an entry it does not know, if the entry is flagged ignorable. Any other
// that it does not know stops it: see Group.Failed. An entry without commands is a barrier.
//
// # Chain
//
// Replicas are compared by one value:
//
//	chain(n) = SHA-256(chain(n-1) || index || term || entry bytes)
//
// over all command entries. It is not part of the entry: a leader that has several entries under
// way does not know the index and predecessor of the next one when it makes it. So every node
// computes the chain while it applies, and snapshots carry it on, together with older points of
// it that reading the log back can start from.
//
// Every entry of commands carries its base: where its leader stood when it made it. Nobody applies one whose base is
// not in its own history, or lets the engine cut off what it has applied: see PartedError.
//
// # Snapshot
//
//	magic, version | records: kind u8, length u32, msgpack | end record: count u64, CRC32C
//
// A snapshot is read and checked to its end before it replaces anything: when it is taken, when it arrives, and at
// each start. It carries what the engine notes of it (entry, term, configuration), so that its checksum is over that
// too. One that is damaged is set aside, in snapshots.damaged, before the engine counts it.
//
// # Concurrency
//
// raft's own goroutine applies; it alone writes the state. All methods of Group may be called from any
// goroutine. A committer goroutine gathers the commands of concurrent proposers into entries, one entry
// after the other, and hands out the results; another watches the leadership.
//
// # What of the engine is covered here
//
// The engine's heartbeat fast path races with its main loop, so the transport offers none. A leader
// whose disk hangs would stay leader: a watchdog on store writes cuts the node off from its peers.
// A term that cannot be written would panic: the node is cut off and says why. Results of the state
// machine come back through a future that may never resolve at shutdown: Close waits for those under way
// before it shuts the engine down, and no longer than a named bound.
package raftlog
