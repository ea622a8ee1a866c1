// Package bench compares calls over wire/mux with those of other libraries, by means of wire/rpcbench: the
// server in a process of its own, loopback TCP, the same callers and payloads.
//
// It is a module of its own, so that what it compares with stays out of the product:
//
//	cd wire/bench && go test -bench . -benchtime 3s
//
// Compare within one run: the machine's speed drifts.
package bench
