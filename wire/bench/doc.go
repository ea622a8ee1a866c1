// Package bench compares calls and streams over wire/mux with other ways to do the same, side by side
// in one run: the server in a process of its own, loopback TCP, the same callers and payloads.
//
// It is a module of its own, so that what it compares with stays out of the product:
//
//	cd wire/bench && go test -bench . -benchtime 3s
//
// Each benchmark reports calls a second and the median and 99th percentile of a call in microseconds;
// those of streams report bytes a second. Compare within one run: the machine's speed drifts.
package bench
