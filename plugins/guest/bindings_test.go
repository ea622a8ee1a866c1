//go:build !wasip1

package guest

import (
	"os"
	"strings"
	"testing"
)

// Every language but WAT has a binding that can be handed out, and the one for Go is this package.
func TestBinding(t *testing.T) {
	for lang, want := range map[string]string{"go": "guest/records_gen.go", "c": "datanode_policy.h",
		"rust": "datanode_policy.rs", "as": "datanode_policy.ts"} {
		if len(Binding(lang)[want]) == 0 {
			t.Errorf("%s: no %s", lang, want)
		}
	}
	if n := len(Binding("wat")) + len(Binding("basic")); n != 0 {
		t.Errorf("%d files for languages without a binding", n)
	}
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := Binding("go")
	for _, e := range names {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && name != "bindings.go" {
			if files["guest/"+name] == nil {
				t.Errorf("the binding for Go lacks %s", name)
			}
		}
	}
}
