package failure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/wire"
)

func TestOf(t *testing.T) {
	far := wire.Errorf(wire.OpReplicaRead, wire.CodeCorrupt, "rot")
	far.Node, far.Outcome = "n2", wire.Unknown
	for _, c := range []struct {
		err     error
		code    wire.Code
		node    string
		outcome wire.Outcome
	}{
		{io.ErrUnexpectedEOF, wire.CodeInternal, "n1", wire.NotDone},
		{&extent.Error{Code: extent.CodeStaleFence}, wire.CodeStaleFence, "n1", wire.NotDone},
		{fmt.Errorf("read: %w", &extent.Error{Code: extent.CodeTooShort}), wire.CodeCorrupt, "n1", wire.NotDone},
		{wire.Errorf(0, wire.CodeExhausted, "busy"), wire.CodeExhausted, "n1", wire.NotDone},
		{fmt.Errorf("n2: %w", far), wire.CodeCorrupt, "n2", wire.Unknown},
		{context.DeadlineExceeded, wire.CodeDeadline, "n1", wire.Unknown},
		{errors.Join(io.EOF, context.Canceled), wire.CodeCancelled, "n1", wire.Unknown},
	} {
		got := Of(wire.OpRead, "n1", c.err)
		if got.Op != wire.OpRead || got.Code != c.code || got.Node != c.node || got.Outcome != c.outcome {
			t.Errorf("%v became %+v, want code %s of %s", c.err, got, c.code, c.node)
		}
	}
	if far.Op != wire.OpReplicaRead {
		t.Error("the error that was given is changed")
	}
}

// Each code of the store has a name on the wire.
func TestEveryStoreCodeIsNamed(t *testing.T) {
	for code := extent.Code(1); !strings.HasPrefix(code.String(), "code("); code++ {
		if storeCodes[code] == 0 {
			t.Errorf("%s has no name", code)
		}
	}
}
