package main

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"io/fs"
	"regexp"
	"strings"
	"text/template"

	"github.com/datanode/datanode/plugins/abi"
)

//go:embed templates
var templates embed.FS // never written to

// bindings are the generated files by the template that makes them.
func bindings() map[string]string {
	return map[string]string{
		"records_gen.go.tmpl":     "plugins/guest/records_gen.go",
		"datanode_policy.h.tmpl":  "plugins/guest/c/datanode_policy.h",
		"datanode_policy.rs.tmpl": "plugins/guest/rust/datanode_policy.rs",
		"datanode_policy.ts.tmpl": "plugins/guest/assemblyscript/datanode_policy.ts",
	}
}

// document has tables between markers; the text around them is written by hand.
const document = "docs/policy-abi.md"

// render gives the generated files by their paths in the repository at root.
func render(s abi.Schema, root fs.FS) (map[string][]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, path := range bindings() {
		text, err := binding(name, s)
		if err != nil {
			return nil, err
		}
		files[path] = text
	}
	text, err := fs.ReadFile(root, document)
	if err != nil {
		return nil, err
	}
	if files[document], err = fill(text, sections(s)); err != nil {
		return nil, err
	}
	return files, nil
}

func binding(name string, s abi.Schema) ([]byte, error) {
	t, err := template.New(name).Funcs(functions(s)).ParseFS(templates, "templates/"+name)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, s); err != nil {
		return nil, err
	}
	if !strings.HasSuffix(name, ".go.tmpl") {
		return buf.Bytes(), nil
	}
	text, err := format.Source(buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, buf.Bytes())
	}
	return text, nil
}

// functions are what the templates may call.
func functions(s abi.Schema) template.FuncMap {
	return template.FuncMap{
		"upper": strings.ToUpper, "camel": camel, "lowerCamel": lowerCamel,
		"goType": goType, "goName": goName,
		"cType": cType, "cName": cName, "rustType": rustType, "asType": asType,
		"records": func() []abi.Record { return []abi.Record{s.Header, s.Facts, s.Pair, s.Score, s.Resolve} },
		"comment": func(f abi.Field) string { return f.Doc },
		"at": func(r abi.Record, name string) (int, error) {
			f, ok := r.Field(name)
			if !ok {
				return 0, fmt.Errorf("%s has no field %s", r.Name, name)
			}
			return f.At, nil
		},
		"enum": func(name string) abi.Enum {
			for _, e := range s.Enums {
				if e.Name == name {
					return e
				}
			}
			return abi.Enum{}
		},
	}
}

var section = regexp.MustCompile(`(?ms)^<!-- generated: ([a-z-]+) -->\n.*?^<!-- end -->\n`)

// fill puts each table between its markers. Both a marker without a table and a table without a
// marker are errors.
func fill(text []byte, tables map[string]string) ([]byte, error) {
	var failed error
	used := map[string]bool{}
	out := section.ReplaceAllFunc(text, func(old []byte) []byte {
		name := string(section.FindSubmatch(old)[1])
		table, ok := tables[name]
		if !ok {
			failed = fmt.Errorf("%s: there is no table %q", document, name)
		}
		used[name] = true
		return []byte("<!-- generated: " + name + " -->\n" + table + "<!-- end -->\n")
	})
	for name := range tables {
		if !used[name] {
			failed = fmt.Errorf("%s: there is no place for the table %q", document, name)
		}
	}
	return out, failed
}
