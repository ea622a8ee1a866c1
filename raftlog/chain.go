package raftlog

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
)

// ChainPoint is the chain's value over all command entries up to and including Index. Two nodes
// whose points at one index differ have different logs.
type ChainPoint struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Index state.Index
	Hash  [sha256.Size]byte
}

// String is "4711:" and the start of the hash, enough to compare by eye.
func (p ChainPoint) String() string {
	return fmt.Sprintf("%d:%s", p.Index, hex.EncodeToString(p.Hash[:8]))
}

// next is the point after a command entry. Entries of the engine's own do not change the hash.
func (p ChainPoint) next(index state.Index, term uint64, entry []byte) ChainPoint {
	var head [sha256.Size + 16]byte
	copy(head[:], p.Hash[:])
	binary.LittleEndian.PutUint64(head[sha256.Size:], uint64(index))
	binary.LittleEndian.PutUint64(head[sha256.Size+8:], term)
	h := sha256.New()
	h.Write(head[:])
	h.Write(entry)
	n := ChainPoint{Index: index}
	h.Sum(n.Hash[:0])
	return n
}

const (
	// pointEvery is how many indices apart the points lie that a node remembers.
	pointEvery = 128
	// maxPoints bounds them: together they reach 32,768 entries back.
	maxPoints = 256
)

// recentPoints are the chain's points at the entries that were applied last, so that others can be answered at once.
// The zero value is empty. An entry of the engine's own that it does not pass on has none.
type recentPoints struct{ slots []ChainPoint }

// maxRecent is how many entries they reach back: seconds of a busy cell, so that a node which answers is within.
const maxRecent = 4096

func (r *recentPoints) add(p ChainPoint) {
	if r.slots == nil {
		r.slots = make([]ChainPoint, maxRecent)
	}
	r.slots[p.Index%maxRecent] = p
}

func (r *recentPoints) at(index state.Index) (ChainPoint, bool) {
	if r.slots == nil || index == 0 {
		return ChainPoint{}, false
	}
	p := r.slots[index%maxRecent]
	return p, p.Index == index
}

// chainPoints are older points of the chain, by rising index, that reading the log back can start
// from and be checked against. The first one of a new log is before its first entry.
type chainPoints []ChainPoint

// add remembers p if it lies far enough from the last one. The receiver's elements are not written to:
// snapshots share them.
func (ps chainPoints) add(p ChainPoint) chainPoints {
	if len(ps) > 0 && p.Index < ps[len(ps)-1].Index+pointEvery {
		return ps
	}
	if len(ps) >= maxPoints {
		ps = ps[1:]
	}
	return append(ps, p)
}

// before is the last point at or before index from which every entry up to index is still in a log
// whose first entry is first.
func (ps chainPoints) before(index, first state.Index) (ChainPoint, bool) {
	i, exact := ps.search(index)
	if exact {
		return ps[i], ps[i].Index+1 >= first
	}
	if i == 0 {
		return ChainPoint{}, false
	}
	return ps[i-1], ps[i-1].Index+1 >= first
}

// from are the points from which the entries are still in a log whose first entry is first.
func (ps chainPoints) from(first state.Index) chainPoints {
	for len(ps) > 0 && ps[0].Index+1 < first {
		ps = ps[1:]
	}
	return ps
}

// at is the point at exactly index.
func (ps chainPoints) at(index state.Index) (ChainPoint, bool) {
	i, ok := ps.search(index)
	if !ok {
		return ChainPoint{}, false
	}
	return ps[i], true
}

// lastBefore is the index of the last point before index, 0 when there is none.
func (ps chainPoints) lastBefore(index state.Index) state.Index {
	i, _ := ps.search(index)
	if i == 0 {
		return 0
	}
	return ps[i-1].Index
}

func (ps chainPoints) search(index state.Index) (int, bool) {
	return slices.BinarySearchFunc(ps, index, func(p ChainPoint, i state.Index) int { return cmp.Compare(p.Index, i) })
}
