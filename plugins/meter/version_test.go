package meter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// tables are the digests of the cost tables that there have been, by Version. A line here is never
// changed: who changes a cost raises Version and adds one.
var tables = map[int]string{
	1: "86f571f3792ec3c8",
}

func TestCostsBelongToTheVersion(t *testing.T) {
	h := sha256.New()
	for op := range 256 {
		fmt.Fprintln(h, op, costOf(byte(op)))
	}
	for sub := range uint32(wasm.MiscTableFill + 1) {
		fmt.Fprintln(h, sub, costOfMisc(sub))
	}
	fmt.Fprintln(h, costEntry, costLocal, costHost, shiftBytes, shiftElements, shiftPages)
	if have := hex.EncodeToString(h.Sum(nil)[:8]); have != tables[Version] {
		t.Errorf("the costs have changed: their digest is %s, that of version %d is %s: raise Version", have, Version,
			tables[Version])
	}
}
