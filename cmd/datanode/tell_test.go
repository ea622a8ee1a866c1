package main

import (
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
)

func tell(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return clitest.CommandLine(runContext).Tell(t, args...)
}

func told(t *testing.T, v any, args ...string) {
	t.Helper()
	clitest.CommandLine(runContext).Told(t, v, args...)
}
