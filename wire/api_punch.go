package wire

// MaxPunches bounds the ranges of one PunchRequest.
const MaxPunches = 4096

// PunchRequest deletes ranges of extents: what puts have stored in them. Each range goes or is refused by itself.
type PunchRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Session uint64 // 0: not idempotent
	Seq     uint64 // rises within the session, with the numbers of its submissions
	Ranges  []PunchRange
	DryRun  bool // only check
}

// PunchRange is one range, as a Locator names it.
type PunchRange struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64
	Offset uint64
	Length uint64
	Birth  uint32 // of the extent; 0: not known
}

// Locator is the range as a locator.
func (r PunchRange) Locator() Locator {
	return Locator{Extent: r.Extent, Offset: r.Offset, Length: r.Length, Birth: r.Birth}
}

// PunchReply answers a PunchRequest: all ranges are deleted but those that are refused.
type PunchReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Index   uint64 // of the entry that deletes them; 0: none was needed
	Refused []PunchRefused
}

// PunchRefused says why a range was not deleted.
type PunchRefused struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	At     uint32 // in Ranges, from 0
	Code   Code
	Detail string
}
