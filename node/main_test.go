package node

import (
	"testing"

	"go.uber.org/goleak"
)

// No test may leave a goroutine behind: stopping a node waits for all of its own.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
