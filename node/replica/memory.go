package replica

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	// takenBytes is the most that a copy holds where it is written: what its stage puts together, what its source may
	// send ahead, and the chunk that is being added.
	takenBytes = extent.StageBytes + mux.DefaultWindowBytes + PieceBytes
	// sentBytes is what a copy holds where it is read: a piece, which is sent from where it was read to.
	sentBytes = PieceBytes
	// sentParts is which part of a node's memory for copies is for those that are read there.
	sentParts = 4
	// busyAgain is in how long a target is to ask a source again that has no memory left.
	busyAgain = time.Second

	// DefaultCopyMemory has room for 18 copies that are written and 64 that are read, several times as many as the
	// limits of the schedule let run at first. LeastCopyMemory has room for 4 and 16.
	DefaultCopyMemory = 64 << 20
	LeastCopyMemory   = 16 << 20
)

// Memory bounds what all copies of a node make it hold. Copies wait for it in the order in which they came, with
// nothing of theirs in memory but a goroutine.
//
// Invariant: nobody waits for memory for ever. What a copy holds where it is written, it holds while it waits for its
// source; so those have a part of their own, and whoever sends waits, with memory, for nobody but a target that has
// its own already. Hence no circle of nodes can wait for each other.
//
// Its methods may be called from any goroutine. It has no lock of its own.
type Memory struct {
	bytes       int64
	taken, sent *semaphore.Weighted // of copies that are written, and that are read
	inUse, most atomic.Int64        // bytes. Invariant: inUse <= bytes
}

// NewMemory makes so many bytes of memory for copies; 0: DefaultCopyMemory.
func NewMemory(bytes int) *Memory {
	if bytes == 0 {
		bytes = DefaultCopyMemory
	}
	sent := int64(bytes / sentParts)
	return &Memory{bytes: int64(bytes), taken: semaphore.NewWeighted(int64(bytes) - sent),
		sent: semaphore.NewWeighted(sent)}
}

// Bytes is how many copies hold now, and Most how many they have held at once since the start.
func (m *Memory) Bytes() int64 { return m.inUse.Load() }
func (m *Memory) Most() int64  { return m.most.Load() }

// ToWrite waits for the memory of a copy that is written here. done gives it back.
func (m *Memory) ToWrite(ctx context.Context) (done func(), err error) {
	return m.take(ctx, m.taken, takenBytes)
}

// ToSend waits for the memory of a copy that is read here, for at most so long: the target waits too, and another
// source may have some.
func (m *Memory) ToSend(ctx context.Context, self state.NodeID, limit time.Duration) (done func(), err error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done, err = m.take(limited, m.sent, sentBytes)
	if err != nil && ctx.Err() == nil {
		return nil, &wire.Error{Op: wire.OpReplicaRead, Code: wire.CodeExhausted, Outcome: wire.NotDone,
			RetryAfter: busyAgain, Detail: fmt.Sprintf("%s sends as many copies as its memory for repairs allows; "+
				"try again in a moment, or give serve more --repair-memory", self)}
	}
	return done, err
}

func (m *Memory) take(ctx context.Context, of *semaphore.Weighted, n int64) (done func(), err error) {
	if err := of.Acquire(ctx, n); err != nil {
		return nil, err
	}
	now := m.inUse.Add(n)
	for most := m.most.Load(); now > most && !m.most.CompareAndSwap(most, now); {
		most = m.most.Load()
	}
	return func() { m.inUse.Add(-n); of.Release(n) }, nil
}
