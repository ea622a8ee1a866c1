package wire

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// Magic starts every Hello.
	Magic = "datanode"
	// Version is the newest protocol version this code speaks, MinVersion the oldest.
	Version    = 1
	MinVersion = 1
	// MaxHelloBytes bounds the first frame, before a limit has been agreed on.
	MaxHelloBytes = 4 << 10
	// MaxNameBytes bounds the names in a hello: they are kept, listed and logged as long as the connection lives.
	MaxNameBytes = 64
	// MinWindowBytes is the least a peer may announce as a window.
	MinWindowBytes = 4 << 10
)

// Features are optional parts of the protocol, one bit each. A part is used when both sides have it.
type Features uint64

// FeatureChunkOffset: the index of a chunk is how many bytes its sender has sent before it in the
// same call, and the receiver checks it.
const FeatureChunkOffset Features = 1 << 0

// FeatureOnBehalf: a request may say who it is made for (FlagOnBehalf).
const FeatureOnBehalf Features = 1 << 1

// FeatureWholePut: a node takes the bytes of a put in the request itself (PutRequest.Whole). Only the caller looks at
// it.
const FeatureWholePut Features = 1 << 2

// FeatureReadInline: the bytes of a small read come with its response, see ReadRequest.Inline.
const FeatureReadInline Features = 1 << 3

// MaxInlineBytes is the most that such a response carries: what a chunk does.
const MaxInlineBytes = MaxChunkBytes

// FeatureAppendStream: a node takes a replica-append with chunks (FlagStream): all of them are durable with its answer.
const FeatureAppendStream Features = 1 << 4

// Hello is the first frame in each direction. New fields are only ever appended.
type Hello struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Magic              string
	MinVersion         uint16
	MaxVersion         uint16
	Cell               string // empty: of no cell yet, or a client of any. Invariant: a Plain text of at most MaxNameBytes
	Node               string // empty: a client. Invariant: as of Cell
	Incarnation        uint64 // grows each time the node starts
	Features           Features
	MaxFrameBytes      uint32 // the largest frame it accepts
	WindowBytes        uint32 // chunk credit that each call starts with, towards it
	SessionWindowBytes uint32 // the same for each session
	MaxInFlight        uint32 // calls it serves at once
}

// Agreed is what two Hellos have in common.
type Agreed struct {
	Version       uint16
	Features      Features
	MaxFrameBytes int // no frame is larger, either way
}

// Negotiate finds what both sides can do, or says with an *Error why they cannot talk. It is
// symmetric: both sides come to the same result.
func Negotiate(mine, theirs *Hello) (Agreed, error) {
	if err := theirs.valid(); err != nil {
		return Agreed{}, err
	}
	version := min(mine.MaxVersion, theirs.MaxVersion)
	if version < max(mine.MinVersion, theirs.MinVersion) {
		older := "this side"
		if theirs.MaxVersion < mine.MaxVersion {
			older = "the peer"
		}
		return Agreed{}, Errorf(0, CodeProtocol, "no common protocol version: peer %q speaks %d to %d, this side %d to %d; "+
			"upgrade %s, the older of the two",
			theirs.Node, theirs.MinVersion, theirs.MaxVersion, mine.MinVersion, mine.MaxVersion, older)
	}
	if mine.Cell != "" && theirs.Cell != "" && mine.Cell != theirs.Cell {
		return Agreed{}, Errorf(0, CodeWrongCell, "peer %q is of cell %q, this side of %q", theirs.Node, theirs.Cell,
			mine.Cell)
	}
	return Agreed{
		Version:       version,
		Features:      mine.Features & theirs.Features,
		MaxFrameBytes: int(min(mine.MaxFrameBytes, theirs.MaxFrameBytes)),
	}, nil
}

func (h *Hello) valid() error {
	switch {
	case h.Magic != Magic:
		return Errorf(0, CodeProtocol, "hello with magic %q, want %q", h.Magic, Magic)
	case h.MaxFrameBytes < MinMaxFrameBytes:
		return Errorf(0, CodeProtocol, "hello with a largest frame of %d bytes, want %d or more", h.MaxFrameBytes,
			MinMaxFrameBytes)
	case h.WindowBytes < MinWindowBytes || h.SessionWindowBytes < MinWindowBytes:
		return Errorf(0, CodeProtocol, "hello with windows of %d and %d bytes, want %d or more",
			h.WindowBytes, h.SessionWindowBytes, MinWindowBytes)
	case h.MaxInFlight == 0:
		return Errorf(0, CodeProtocol, "hello that allows no calls")
	}
	for _, name := range []string{h.Cell, h.Node} {
		if len(name) > MaxNameBytes || !Plain(name) {
			return Errorf(0, CodeProtocol, "hello with the name %.*q of %d bytes, want at most %d, without control characters",
				MaxNameBytes, name, len(name), MaxNameBytes)
		}
	}
	return nil
}

// Plain reports whether a text can be shown to people as it is: UTF-8 without control characters, which a terminal
// would obey, line breaks, and the invisible ones that turn the direction of writing.
func Plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (h *Hello) String() string {
	return fmt.Sprintf("node %q of cell %q, incarnation %d, versions %d to %d", h.Node, h.Cell, h.Incarnation,
		h.MinVersion, h.MaxVersion)
}
