package replica

import "github.com/datanode/datanode/node/extent"

// Store is where this node's replicas are: an extent.Store, or several disks that act as one. What each method promises
// stands there. Its methods may be called from any goroutine.
type Store interface {
	Create(id extent.ID, fence extent.Fence, birth extent.Birth) error
	Append(id extent.ID, fence extent.Fence, offset uint64, parts ...[]byte) error
	Stream(id extent.ID, fence extent.Fence, offset uint64) (*extent.Stream, error)
	StageFor(id extent.ID, fence extent.Fence, birth extent.Birth, bytes uint64) (*extent.Stage, error)
	Seal(id extent.ID, length uint64) error
	SealSum(id extent.ID, length uint64) (uint32, error)
	Rewrite(id extent.ID, r extent.Rewrite) (extent.Rewritten, error)
	RaiseFence(id extent.ID, fence extent.Fence) error
	ForgetFence(id extent.ID) error
	Drop(id extent.ID) error
	Quarantine(id extent.ID, why string) error

	CheckBirth(id extent.ID, birth extent.Birth) error
	Stat(id extent.ID) (extent.Info, error)
	Hint(id extent.ID) (extent.Hint, bool)
	ReadAt(id extent.ID, p []byte, off uint64) (int, error)
	ReadSum(id extent.ID, p []byte, off uint64) (n int, sum uint32, err error)
	ReadParts(id extent.ID, buf []byte, n, off uint64) (extent.Verified, error)
	Sum(id extent.ID, length uint64) (uint32, error)
	IDs() []extent.ID
	Bare() []extent.ID
}
