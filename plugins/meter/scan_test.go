package meter_test

import (
	"context"
	"errors"
	"testing"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/plugins/meter"
)

// The host's scan of a module lets through just the instructions that have a cost.
func TestHostScanAgrees(t *testing.T) {
	host, err := plugins.New(context.Background(), plugins.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(context.Background())
	cases := opCases()
	for n := range uint32(2 * 256) {
		op, code := n, []byte{byte(n)}
		if n > 0xff {
			op, code = 0xfc00|n&0xff, cat([]byte{0xfc}, uleb(n&0xff))
		}
		if op == 0xfc {
			continue
		}
		uses := []opCase{{code: code}}
		if c, tested := cases[op]; tested {
			uses = c
		}
		for _, use := range uses {
			module := scannable(use.code)
			if counts, scans := isCounted(module), isScanned(t, host, module); counts != scans {
				t.Errorf("opcode %#x: that it has a cost is %v, that the host lets it through is %v", op, counts, scans)
			}
		}
	}
}

// scannable is a module that fails for nothing before its code is looked at.
func scannable(code []byte) []byte {
	return wasm(section(1, funcType(i32, ""), funcType("", ""), funcType("", i32), funcType(i32, i32)),
		section(3, uleb(0), uleb(2), uleb(2)), section(5, []byte{0, 1}), section(6, []byte{0x7e, 1, 0x42, 0, 0x0b}),
		rawSection(12, uleb(2)), section(10, body("", code), body("", nil), body("", nil)))
}

func isCounted(module []byte) bool {
	_, err := meter.Instrument(module)
	refused := (*meter.Error)(nil)
	return !errors.As(err, &refused) || refused.Reason != meter.UnknownOpcode
}

func isScanned(t *testing.T, host *plugins.Host, module []byte) bool {
	_, err := host.Compile(context.Background(), module)
	refused := (*plugins.LoadError)(nil)
	if !errors.As(err, &refused) {
		t.Fatalf("%v, want a refusal: it is no policy", err)
	}
	return refused.Reason != plugins.ForbiddenInstruction
}
