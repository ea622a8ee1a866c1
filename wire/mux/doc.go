// Package mux carries many calls over one connection, and never takes one call's frame for another's.
//
// A Conn is made on each end by Client (the side that dialed, which starts the calls) and Server.
// A call is a request, chunks in both directions if it is a stream, and exactly one final frame, a
// response or an error, even when it was cancelled. Every frame of a call must name its correlation
// ID, operation and session. A frame that does not is a mismatch and poisons the connection: it is
// closed, and every call on it fails with a typed error that says whether a retry is safe.
//
// # Concurrency
//
// A Conn has one reader goroutine and one writer goroutine; the accepting side has one more for each
// call being handled. All state is under Conn.mu, which is never held while reading, writing, coding
// or calling out. The reader never waits for the application: what arrives is bounded by credit, by
// the calls allowed in flight and by the bytes of requests held. The writer takes frames round robin
// from one queue for each session, so that a bulk session delays the others by one frame at most.
//
// # Cancellation
//
// A cancelled call stays in the table of calls until its final frame has come, so that late frames
// are matched as strictly as all others and then dropped. The obvious design, a list of recently
// cancelled IDs, has to forget some and then cannot tell late from wrong. The accepting side, which
// may see chunks of a call that it has already answered, knows them by an ID not above the last.
package mux
