package extent

import (
	"errors"
	"fmt"
	"io/fs"
)

// Code says what kind of failure an Error is.
type Code uint8

const (
	CodeNotFound    Code = 1
	CodeExists      Code = 2  // under another fence
	CodeStaleFence  Code = 3  // a higher fence was raised: Want is that one, Have the caller's
	CodeWrongOffset Code = 4  // Want is the offset that would do, Have the caller's
	CodeCorrupt     Code = 5  // Offset is where the first bad record begins
	CodeNoSpace     Code = 6  // nothing was changed; may be repeated
	CodeDiskFailed  Code = 7  // a sync failed; nothing is written any more
	CodeSealed      Code = 8  // Want is the sealed length
	CodeTooShort    Code = 9  // Want is the length asked for, Have the durable length
	CodeClosed      Code = 10 // the store or the stage is closed
	CodeChanged     Code = 11 // the replica was cut, replaced or removed during the call; ask again
	CodeIO          Code = 12 // the file could not be opened; its bytes may be fine
	CodeBelowFloor  Code = 13 // acknowledged bytes would be cut: Want is how many there are, Have the caller's
	CodePunched     Code = 14 // the bytes were deleted, and are not in the file any more
	CodeUnsupported Code = 15 // the file system cannot do it
)

var codeNames = [...]string{"", "not-found", "exists", "stale-fence", "wrong-offset", "corrupt", "no-space",
	"disk-failed", "sealed", "too-short", "closed", "changed", "io", "below-floor", "punched", "unsupported"}

func (c Code) String() string {
	if c == 0 || int(c) >= len(codeNames) {
		return fmt.Sprintf("code(%d)", uint8(c))
	}
	return codeNames[c]
}

// Error is what every method of the package fails with.
type Error struct {
	Op     string
	Code   Code
	ID     ID // 0 where no extent is concerned
	Detail string
	Err    error // the cause, if another error is

	Want, Have uint64 // see the codes
	Offset     uint64 // logical; CodeCorrupt only
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Code.String()
	if e.ID != 0 {
		s = fmt.Sprintf("%s extent %d: %s", e.Op, e.ID, e.Code)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first *Error in err's chain, 0 when there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func errNotFound(op string, id ID) *Error {
	return &Error{Op: op, Code: CodeNotFound, ID: id}
}

func errTooShort(op string, id ID, want, have uint64) *Error {
	return &Error{Op: op, Code: CodeTooShort, ID: id, Want: want, Have: have,
		Detail: fmt.Sprintf("%d bytes wanted, %d are durable", want, have)}
}

func errCorrupt(op string, id ID, off uint64, err error) *Error {
	return &Error{Op: op, Code: CodeCorrupt, ID: id, Offset: off,
		Detail: fmt.Sprintf("at offset %d", off), Err: err}
}

func errStale(op string, id ID, highest, fence Fence) *Error {
	return &Error{Op: op, Code: CodeStaleFence, ID: id, Want: uint64(highest), Have: uint64(fence),
		Detail: fmt.Sprintf("fence %d, but %d was raised", fence, highest)}
}

// errOpen is a failure to open a file that the store has opened before: it was taken away behind the store's
// back, or the process is short of something.
func errOpen(op string, id ID, err error) *Error {
	if errors.Is(err, fs.ErrNotExist) {
		return errCorrupt(op, id, 0, err)
	}
	return &Error{Op: op, Code: CodeIO, ID: id, Err: err}
}
