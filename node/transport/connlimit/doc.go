// Package connlimit bounds what the accepted connections of a node may take: how many there are, of all machines and of
// each, how many of them have not yet said who they are, and how much memory their peers can make the node hold. It
// keeps room for nodes when clients have taken all that they may (reserve.go), and makes a machine wait whose
// connections end again and again for what it did (penalties.go).
//
// A connection comes by [Limits.Add], which may close it at once, says who it is by [Limits.Greeted], and goes by
// [Limits.Remove]. Whoever finds it at fault says so by [Limits.Offended].
//
// The package has no goroutine. All methods may be called from any goroutine: Limits and its penalties have one lock
// each, and neither is held while the other is taken. A connection may be closed under the lock of Limits, which waits
// for nothing.
package connlimit
