// Command generate writes what follows from the schema of the policy ABI: the records of the Go
// guest, the C header, the Rust and the AssemblyScript module, a WAT prelude, and the tables in
// docs/policy-abi.md. It is run by go generate in plugins/abi; its test fails where a file differs.
//
// What does not follow from the schema, such as the loop over a batch, stands in the templates.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/datanode/datanode/plugins/abi"
)

// root is the repository's from the folder that go generate runs this in.
const root = "../.."

func main() {
	if err := run(root); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	files, err := render(abi.V1(), os.DirFS(root))
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
