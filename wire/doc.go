// Package wire is what goes over a connection between nodes and their clients: frames, operation
// types, error codes and messages. It is pure: bytes in, values out. It owns no goroutine, no clock
// and no socket; package mux does. Every function may be called from any goroutine.
//
// A frame is
//
//	+--------+---------------+----------------+-----------+--------+
//	| length | header        | body           | raw       | CRC32C |
//	| u32 LE | msgpack array | msgpack, bytes | any bytes | u32 LE |
//	+--------+---------------+----------------+-----------+--------+
//
// where length counts all that follows it and the CRC covers all that precedes it, the length
// included. Raw bytes are never copied into msgpack. See docs/wire.md for a description that is
// precise enough to write a client in another language.
//
// Nothing here trusts its input: a frame's length is checked against a limit before anything is
// allocated, and Scan bounds nesting and declared counts before any msgpack is decoded.
package wire
