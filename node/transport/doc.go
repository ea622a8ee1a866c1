// Package transport is all connections of a node: those that it accepts and those that it dials, for calls and for
// raft.
//
// A node has one listener. The first byte of a connection says what follows, over TLS the protocol that was agreed on:
//
//	'D' frames: calls of clients and nodes, served by Options.Serve          accepted.go, peers.go
//	'R' a raft stream; 'C' one in records with checksums, only in plaintext  hello.go, dial.go, streams.go
//	TLS either of them, by the holder of a certificate                       tls.go, roles.go, certs.go
//
// Whoever has not said in Options.FirstByte who it is, is hung up on. Package connlimit bounds the accepted
// connections, and makes machines wait whose connections end for what they did; package summed is a raft stream in
// records. All open connections are in a [ConnTable], for people and the metrics.
//
// Of the rest of the node it knows four functions, and a few that it can do without: what the node says of itself
// (Hello), whether its log is empty (Blank), who is in the group (Members), and who serves a call (Serve).
//
// Goroutines: one accepts; each accepted connection has one until it is known what it is for, and then until it ends,
// if it is for calls (package mux adds its own); each dialed connection for calls has one until it ends; with
// certificates, two look every few seconds for connections whose certificate is not good any more, and for raft streams
// of nodes that have left the group. Stop ends them, and Wait waits for them. Raft reads and writes its streams itself.
//
// Locks: each type with state has one of its own (ConnTable, accepted, peers, security, Denials, plainAddrs), and calls
// nothing that takes another while it is held. Limits call addresses.onMachine under theirs.
package transport
