package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/abi"
)

const repository = "../../.."

// What is committed is what the schema makes.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := render(abi.V1(), os.DirFS(repository))
	if err != nil {
		t.Fatal(err)
	}
	if want := len(bindings()) + 1; len(files) != want {
		t.Errorf("%d files are generated, want %d", len(files), want)
	}
	for name, want := range files {
		have, err := os.ReadFile(repository + "/" + name)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(have, want) {
			t.Errorf("%s is not what the schema makes of it: run `go generate ./plugins/abi`", name)
		}
	}
}

// A fact that is added at the end reaches every binding and the document.
func TestRecordsGrow(t *testing.T) {
	s := abi.V1()
	s.Facts.Fields = append(s.Facts.Fields, abi.Field{At: 80, Type: abi.U64, Name: "free_bytes",
		Doc: "a fact of tomorrow"})
	files, err := render(s, os.DirFS(repository))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"plugins/guest/records_gen.go": {"factsBytes      = 88",
			"_ [80]byte          = [unsafe.Offsetof(Facts{}.FreeBytes)]byte{}"},
		"plugins/guest/c/datanode_policy.h":               {"uint64_t free_bytes;", "sizeof(dn_facts) == 88"},
		"plugins/guest/rust/datanode_policy.rs":           {"pub free_bytes: u64,", "FACTS_BYTES: usize = 88"},
		"plugins/guest/assemblyscript/datanode_policy.ts": {"freeBytes: u64;", "factsBytes: usize = 88"},
		"docs/policy-abi.md":                              {"| 80 | u64 | free_bytes |"},
	} {
		for _, text := range want {
			if !strings.Contains(string(files[name]), text) {
				t.Errorf("%s: %q is not in it", name, text)
			}
		}
	}
}

// A schema that breaks the layout is refused.
func TestCheck(t *testing.T) {
	for want, change := range map[string]func(*abi.Schema){
		"facts.extent is at 12, want 8": func(s *abi.Schema) { s.Facts.Fields[1].At = 12 },
		"not aligned":                   func(s *abi.Schema) { s.Header.Fields[1].Type = abi.U8; s.Header.Fields[2].At = 3 },
		"is no type":                    func(s *abi.Schema) { s.Score.Fields[0].Type = "u24" },
		"multiple of 8": func(s *abi.Schema) {
			s.Facts.Fields = append(s.Facts.Fields, abi.Field{At: 80, Type: abi.U32, Name: "x"})
		},
		`there is no enum "mood"`:  func(s *abi.Schema) { s.Resolve.Fields[0].Enum = "mood" },
		"kind create is 0, want 1": func(s *abi.Schema) { s.Enums[0].Values[0].Number = 0 },
	} {
		s := abi.V1()
		change(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := abi.V1().Check(); err != nil {
		t.Error(err)
	}
}

// A marker and its table go together.
func TestFill(t *testing.T) {
	text := []byte("before\n<!-- generated: a -->\nold\n<!-- end -->\nafter\n")
	have, err := fill(text, map[string]string{"a": "new\n"})
	if want := "before\n<!-- generated: a -->\nnew\n<!-- end -->\nafter\n"; err != nil || string(have) != want {
		t.Errorf("%q, %v", have, err)
	}
	if _, err := fill(text, map[string]string{"b": "x\n"}); err == nil {
		t.Error("a marker without a table was accepted")
	}
	if _, err := fill(text, map[string]string{"a": "x\n", "b": "x\n"}); err == nil {
		t.Error("a table without a place was accepted")
	}
}
