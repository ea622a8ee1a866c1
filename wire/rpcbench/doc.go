// Package rpcbench measures what calls and streams over wire/mux cost, beside other ways to do the same:
// the server in a process of its own, loopback TCP, the same callers and payloads. The command line runs it
// with what the standard library has to compare with; wire/bench, a module of its own, adds other libraries.
//
// Compare within one run: a machine's speed drifts. Nothing here is asserted.
//
// Measurements run their callers on goroutines of their own, all ended when they return.
package rpcbench

import (
	"context"
	"io"
	"net"
)

const (
	// PayloadBytes is the size of every request, AnswerBytes that of every answer: a call asks with 1 KiB and
	// is told little, as an append is.
	PayloadBytes = 1 << 10
	AnswerBytes  = 16
	// ChunkBytes is the size of the pieces that streams are written in.
	ChunkBytes = 256 << 10
)

// Caller makes one call with a payload of PayloadBytes, and checks that the answer has AnswerBytes. Many
// goroutines use one, unless its peer says PerCaller.
type Caller func(ctx context.Context, payload []byte) error

// Reader reads the next piece of a stream that never ends, and answers its length in bytes.
type Reader func() (int, error)

// Peer is one way to make calls, or to stream, or both.
type Peer struct {
	Name string
	// Serve accepts connections until l is closed. It runs in the server's process.
	Serve func(l net.Listener)
	// Call and Stream connect; nil: the peer has none.
	Call   func(ctx context.Context, addr string) (Caller, io.Closer, error)
	Stream func(ctx context.Context, addr string) (Reader, io.Closer, error)
	// PerCaller says that a connection carries one call at a time, so that each caller needs its own.
	PerCaller bool
}

// Peers are those that need nothing but this project and the standard library.
func Peers() []Peer {
	return []Peer{
		{Name: "datanode", Serve: serveMux, Call: callMux(dial), Stream: streamMux(dial)},
		{Name: "net-rpc", Serve: serveNetRPC, Call: callNetRPC},
		{Name: "io-copy", Serve: serveCopy, Stream: streamCopy(dial)},
		{Name: "datanode-tls", Serve: overTLS(serveMux, productServer), Call: callMux(dialTLS(productClient)),
			Stream: streamMux(dialTLS(productClient))},
		{Name: "crypto-tls", Serve: overTLS(serveCopy, plainServer), Stream: streamCopy(dialTLS(plainClient))},
	}
}

// Find is the peer of that name; ok is false when there is none.
func Find(peers []Peer, name string) (p Peer, ok bool) {
	for _, p := range peers {
		if p.Name == name {
			return p, true
		}
	}
	return Peer{}, false
}
