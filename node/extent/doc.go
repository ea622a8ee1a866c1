// Package extent is the store of extent replicas on one disk: one file an extent, appended to in
// checksummed records, recovered by reading it.
//
// # Promises
//
// What Append acknowledged is on disk, is never lost to a crash, and is never read back as other
// bytes: every read verifies the checksum of every record that it touches, and a checksum is bound to
// the extent's ID and the record's offset, so that a misplaced record or file is found too. Bytes that
// were written but not acknowledged may or may not be there after a crash. A failed sync is never
// retried into success: the store refuses every later change and goes on reading (Failed). A full
// disk is not a failed disk: the half-written tail is cut again and the call may be repeated.
// Whoever holds a fence lower than the highest that was raised for an extent can no longer change it.
//
// # Folder
//
//	DIR/LOCK                    keeps a second process out
//	DIR/fences                  the highest fence of each extent, see fences.go
//	DIR/catalogue               what the sealed extents are, as a hint, see catalogue.go
//	DIR/extents/xx/ID.ext       a replica; ID in decimal, xx its lowest byte in hexadecimal
//	DIR/staging/ID.part         a replica that is being copied, same format; becomes ID.ext by rename
//	DIR/staging/ID.cut          the intent of a Seal inside a record, see seal.go
//	DIR/staging/ID.new          a replica that is being rewritten, see rewrite.go; becomes ID.ext by rename
//	DIR/staging/ID.tail         what Open has cut off a replica, until its length is settled, see tail.go
//	DIR/quarantine/ID.N.ext     moved aside, never deleted; ID.N.why says why
//
// # Format
//
// A file is a header and records, see format.go. Each record says how much of the extent was durable
// when it was written (its floor). That is what tells a torn tail from rot after a crash: a page that
// was never synced can be missing in front of pages that made it to disk, so "an invalid record
// followed by a valid one" proves nothing by itself. With floor the highest of all floors in a file,
// what is invalid below it was acknowledged and is rot, kept and reported; what is invalid at or above
// it was not, and is cut. A mark (a record without payload) is written by Seal and Stage.Commit, to say
// that all before it is durable.
//
// A sealed extent ends with a footer behind its mark: what a scan of its file would find, see footer.go. Recovery
// reads that alone; without one it reads every record header, and the payloads only from the floor on, so that the time
// to open does not grow with the bytes stored. A footer that is damaged costs a scan and no more. Sealed extents
// that the catalogue lists are not looked into at all before they are used, see wake.go. Rot in payloads is found by
// reads, Sum and Scrub, which the node runs all the time. Options.VerifyAll makes Open read everything.
//
// # What is acknowledged
//
// One thing the file alone cannot tell: rot in the very last append of an extent without a mark looks
// like a torn tail. It is cut, but what is cut is put aside first (ID.tail) and the replica stays marked until its
// length is settled (Info.Cut): it may be shorter than what was acknowledged, and is no proof of a length.
//
// What is proof: the writer appends at an offset only once all before it is acknowledged. So the floor of a record
// with a payload is a number of bytes that no Seal may go below, on any replica (Info.Floor). Marks prove nothing of
// the kind: a Seal writes them at a length that the cell may yet decide against. Before the next append only the
// writer knows about the last one; it says so with Acknowledge.
//
// # Concurrency
//
// A Store is safe for concurrent use. Locks are taken in this order, each held over I/O unless noted:
//
//	Store.rewriting one Rewrite at a time
//	Store.life      read-held by every call; Close takes it to wait for them
//	waking.mu       held while an extent's file is read for the first time, before any other use of it
//	extent.write    one writer at a time for an extent: Create, Append, Seal, RaiseFence, Commit, Drop
//	Stage.mu        one call at a time for a stage
//	extent.use      read-held while a call reads the file; taken to cut, replace or remove it
//	fences.mu, handles.mu, Store.mu, extent.mu   memory only, never held over I/O; extent.mu may be
//	                taken under Store.mu, no other two at once
//
// Appends to different extents share no lock while they write and sync. Raised fences of different
// extents share one sync (group commit).
package extent
