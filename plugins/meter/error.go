package meter

import "fmt"

// Reason says why a module cannot be metered.
type Reason string

const (
	Malformed      Reason = "malformed"       // not a module, cut short, counts that do not add up, indices of nothing
	UnknownOpcode  Reason = "unknown-opcode"  // an instruction without a cost
	AlreadyMetered Reason = "already-metered" // it has an export named Export
	TooLarge       Reason = "too-large"       // beyond one of the bounds of this package
)

// Error is why Instrument refused a module.
type Error struct {
	Reason Reason
	Offset int    // of the byte in the module where that was found
	Opcode uint32 // for UnknownOpcode: one byte, or 0xfc00 and what follows the prefix
	Detail string // what was found, and what is possible
}

func (e *Error) Error() string {
	return fmt.Sprintf("meter: byte %d: %s: %s", e.Offset, e.Reason, e.Detail)
}
