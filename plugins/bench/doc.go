// Package bench compares policies: one rule, the score of the native default, written for each engine that
// could run it. In the product: Go itself, and WebAssembly from C and from Go, metered. Beside them CEL and
// Rego, which others use for such decisions.
//
// It is a module of its own, so that what it compares with stays out of the product:
//
//	cd plugins/bench && go test -bench . -benchtime 1s
//
// All engines answer the same facts, and a test compares their answers. Compare within one
// run: the machine's speed drifts.
package bench
