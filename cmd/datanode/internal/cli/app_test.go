package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/wire"
)

// What --timeout ended says so, and is unavailable to scripts; what failed before it was up is left as it is.
func TestTimeoutIsNamed(t *testing.T) {
	a := &App{Timeout: time.Nanosecond}
	over, cancel := a.Bounded(t.Context())
	defer cancel()
	<-over.Done()
	err := a.TimedOut(over, wire.Errorf(wire.OpPut, wire.CodeCancelled, "cut off"))
	if got := exit.Code(over, err); got != exit.Unavailable ||
		!strings.Contains(err.Error(), "gave up after --timeout 1ns: ") {
		t.Errorf("exit code %d: %v", got, err)
	}
	if got := exit.Code(over, a.TimedOut(over, exit.With(exit.Refused, "no"))); got != exit.Refused {
		t.Errorf("an error with a code of its own: exit code %d, want %d", got, exit.Refused)
	}
	if err := a.TimedOut(t.Context(), errors.New("early")); err.Error() != "early" {
		t.Errorf("before its time: %v", err)
	}
}
