// Package report brings what a node has to say into the log: a finish, a file that is gone, a damaged replica.
//
// A Proposer puts commands into the log wherever its leader is, and serves those of other nodes on the leader. A Queue
// gathers what is said while an earlier batch is under way. What is said may be said again: all these commands change
// nothing the second time.
//
// The package starts no goroutine: whoever makes a Queue runs it, with Run. Queues need no lock beside their channel.
package report
