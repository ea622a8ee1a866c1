package node

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// No test may leave a goroutine behind: stopping a node waits for all of its own.
func TestMain(m *testing.M) {
	if text := os.Getenv(attackEnv); text != "" {
		if err := actAsAttacker(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
