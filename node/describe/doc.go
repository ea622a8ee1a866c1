// Package describe says in messages of the wire, and in lines that people read, what a state holds: extents, nodes,
// operations, entries of the log.
//
// Everything here is a function of a state's view, which does not change. There is no goroutine and no lock.
package describe
