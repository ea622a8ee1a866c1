package plugins

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/datanode/datanode/policies"
)

// Facts and scores have the layout of their records in memory, except on a machine that has the bytes
// of a number the other way round. So a batch is handed over by copying it whole, which takes a third of
// the time of writing and reading each field; AppendFacts and ParseScore say the same a record at a time,
// and the tests compare the two.
var (
	_ [factsBytes]byte  = [unsafe.Sizeof(policies.Facts{})]byte{}
	_ [answerBytes]byte = [unsafe.Sizeof(policies.Score{})]byte{}
)

// factsZeroAt is the byte of a facts record that is none of the facts.
const factsZeroAt = 63

// scorePads are the bytes of a score that must be zero, read as a little-endian number.
const scorePads = 0xffff << 48

// putFacts fills records, which are len(facts)*factsBytes long.
func putFacts(records []byte, facts []policies.Facts) {
	if !laidOut() {
		for n := range facts {
			AppendFacts(records[n*factsBytes:n*factsBytes], &facts[n])
		}
		return
	}
	copy(records, bytesOf(facts))
	for at := factsZeroAt; at < len(records); at += factsBytes {
		records[at] = 0 // nothing says what a copy of a struct has between its fields
	}
}

// takeScores fills out from answers, which are len(out)*answerBytes long, of a policy with so many reasons. It
// fails for what ParseScore refuses and for a reason that is none of them, and out is not to be used then.
func takeScores(out []policies.Score, answers []byte, reasons int) error {
	pads, reason := uint64(0), uint64(0)
	for at := 0; at < len(answers); at += answerBytes {
		answer := binary.LittleEndian.Uint64(answers[at : at+answerBytes])
		pads |= answer
		reason = max(reason, answer<<16>>48)
	}
	if pads&scorePads == 0 && reason < uint64(reasons) && laidOut() {
		copy(bytesOf(out), answers)
		return nil
	}
	for n := range out {
		var err error
		if answers, out[n], err = ParseScore(answers); err == nil {
			err = checkReason(out[n].Reason, reasons)
		}
		if err != nil {
			return fmt.Errorf("answer %d: %w", n, err)
		}
	}
	return nil
}

// checkReason refuses an answer whose reason is none of those that the policy lists.
func checkReason(reason uint16, reasons int) error {
	if int(reason) >= reasons {
		return fmt.Errorf("reason %d, the description lists 0 to %d", reason, reasons-1)
	}
	return nil
}

// laidOut reports whether this machine has numbers in memory as records have them.
func laidOut() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

// bytesOf is the memory of values.
func bytesOf[T policies.Facts | policies.Score](values []T) []byte {
	first := unsafe.SliceData(values)
	return unsafe.Slice((*byte)(unsafe.Pointer(first)), uintptr(len(values))*unsafe.Sizeof(*first))
}
