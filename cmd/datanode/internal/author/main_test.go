package author

import (
	"context"
	"io"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m) }

// run is a program that has the commands of this package only.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	a := cli.New(stdin, stdout, stderr, env)
	return a.Execute(ctx, a.Root("datanode", "", "", cli.Group("policy", "", "", Commands(a)...)), SingleDash(args))
}

func tell(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return clitest.CommandLine(run).Tell(t, args...)
}

func told(t *testing.T, v any, args ...string) {
	t.Helper()
	clitest.CommandLine(run).Told(t, v, args...)
}
