package state

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Index is a position in the operation log. The first entry has index 1.
type Index uint64

// ExtentID numbers an extent. IDs are given out in order and never again.
type ExtentID uint64

// NodeID names a node, such as "n1".
type NodeID string

// Fence is the log index of the entry that let an operation start. Everything that is done for the
// operation, on any node, carries it; a later start has a higher one.
type Fence uint64

// Identity is whose certificate stands behind a request: role and name, such as "admin/me"; "" where there are no
// certificates.
type Identity string

// Micros is a moment in the cell's time, in microseconds since 1970, or a duration in microseconds.
type Micros int64

// placeBits is how much of an OpID holds the place in the entry. It bounds an entry to 65,536
// operations, and a log to 2^48 entries: 89 years at 100,000 a second.
const placeBits = 16

// OpID identifies an operation: the index of the entry that admitted it, and its place there.
// IDs order as their operations were admitted.
type OpID uint64

// NewOpID joins an index and a place. place must be below 65,536.
func NewOpID(index Index, place int) OpID { return OpID(uint64(index)<<placeBits | uint64(place)) }

// Index is the log index of the admitting entry.
func (id OpID) Index() Index { return Index(id >> placeBits) }

// Place is the operation's place in that entry, from 0.
func (id OpID) Place() int { return int(id & (1<<placeBits - 1)) }

// String is "4711" for the first operation of entry 4711 and "4711.3" for the fourth.
func (id OpID) String() string {
	if id.Place() == 0 {
		return strconv.FormatUint(uint64(id.Index()), 10)
	}
	return fmt.Sprintf("%d.%d", id.Index(), id.Place())
}

// ParseOpID is the inverse of String.
func ParseOpID(s string) (OpID, error) {
	head, tail, dotted := strings.Cut(s, ".")
	index, err := strconv.ParseUint(head, 10, 64-placeBits)
	if err != nil || index == 0 {
		return 0, fmt.Errorf("%q is not an operation ID, which looks like 4711 or 4711.3", s)
	}
	var place uint64
	if dotted {
		if place, err = strconv.ParseUint(tail, 10, placeBits); err != nil || place > math.MaxUint16 {
			return 0, fmt.Errorf("%q is not an operation ID: the place after the dot must be 0 to 65535", s)
		}
	}
	return NewOpID(Index(index), int(place)), nil
}
