package wire

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// documented is a field of a struct as docs/wire.md has it.
type documented struct{ name, typ string }

// Where the document speaks of a field otherwise than the code, and of structs under headings of their own.
var (
	fieldsSpoken = map[string]string{
		"Header.operation": "Op", "Header.correlation ID": "ID", "Header.index": "MinIndex", "Header.body length": "BodyLen",
		"Hello.oldest": "MinVersion", "Hello.newest version": "MaxVersion", "Hello.largest frame": "MaxFrameBytes",
		"Hello.window": "WindowBytes", "Hello.session window": "SessionWindowBytes", "Hello.calls in flight": "MaxInFlight",
		"Error.operation": "Op", "Submission.sequence": "Seq", "PunchRequest.sequence": "Seq", "Submitted.operation": "Op",
		"WaitRequest.operations": "Ops", "WaitRequest.patience": "WaitMicros", "CancelRequest.operation": "Op",
		"ReorderRequest.operation": "Op", "ShowOpRequest.operation": "Op",
		"OpsReply.operations": "Ops", "Step.time": "Micros", "Extent.operations": "Ops", "Extent.generation": "Gen",
		"Replica.state of the node": "NodeState", "Node.address": "Addr", "Node.safe to remove": "SafeRemove",
		"Status.committed": "Commit", "Voter.address": "Addr", "Status.nodes up": "Up", "QuotaUsage.most bytes": "MostBytes",
		"QuotaUsage.most extents": "MostExtents",
	}
	structsUnder = map[string]string{"Frame": "Header", "Hello": "Hello", "Errors": "Error"}
)

var (
	tableTitle  = regexp.MustCompile(`^\*\*(\w+)\*\*$`)
	inlineTitle = regexp.MustCompile(`^\*\*(\w+)\*\*(?: and \*\*(\w+)\*\*)?: (1 .*)`)
	inlineField = regexp.MustCompile(`^(\d+) ([\w ]+), ([^\s:,.]+)`)
	structName  = regexp.MustCompile(`\b[A-Z]\w+\b`)
)

// parseDocument finds the structs of docs/wire.md: tables of numbered fields, and lines such as "**Fact**: 1 name,
// text; 2 value, text." Besides it gives the structs that the table of operations names.
func parseDocument(t *testing.T, text string) (structs map[string][]documented, named []string) {
	t.Helper()
	structs = map[string][]documented{}
	add := func(of, number, name, typ string) {
		if n, err := strconv.Atoi(number); err != nil || n != len(structs[of])+1 {
			t.Errorf("%s: field %s (%q) is number %d", of, number, name, len(structs[of])+1)
		}
		structs[of] = append(structs[of], documented{name, typ})
	}
	title, inTable := "", false
	for _, line := range strings.Split(text, "\n") {
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case strings.HasPrefix(line, "#"):
			title = structsUnder[strings.TrimLeft(line, "# ")]
		case tableTitle.MatchString(line):
			title = tableTitle.FindStringSubmatch(line)[1]
		case inlineTitle.MatchString(line):
			m := inlineTitle.FindStringSubmatch(line)
			for _, field := range strings.Split(m[3], "; ") {
				f := inlineField.FindStringSubmatch(field)
				if f == nil {
					t.Errorf("%s: %q is no field", m[1], field)
					continue
				}
				for _, of := range m[1:3] {
					if of != "" {
						add(of, f[1], f[2], f[3])
					}
				}
			}
		case strings.HasPrefix(line, "| # |"):
			inTable = title != ""
			if !inTable {
				t.Errorf("a table of fields without a struct's name: %s", line)
			}
		case inTable && len(cells) >= 5 && cells[1] != "---":
			names := strings.Split(cells[2], ", ")
			for i, number := range strings.Split(cells[1], ", ") {
				add(title, number, names[min(i, len(names)-1)], cells[3])
			}
		case len(cells) == 9: // operations: number, name, session, request, flags, chunks, response
			named = append(named, structName.FindAllString(cells[4]+" "+cells[7], -1)...)
		case line == "":
			inTable = false
		}
	}
	return structs, named
}

// typeAsDocumented is a field's type in the words of the document.
func typeAsDocumented(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Int:
		return "i64"
	case reflect.Slice:
		return "[" + typeAsDocumented(t.Elem()) + "]"
	case reflect.Map:
		return fmt.Sprintf("map of %s to %s", typeAsDocumented(t.Key()), typeAsDocumented(t.Elem()))
	case reflect.Struct:
		return t.Name()
	}
	return strings.NewReplacer("uint", "u", "int", "i").Replace(t.Kind().String())
}

// structTypes are the structs that cross the wire, by name.
func structTypes() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	var reach func(reflect.Type)
	reach = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			reach(typ.Elem())
		case reflect.Struct:
			types[typ.Name()] = typ
			for i := range typ.NumField() {
				reach(typ.Field(i).Type)
			}
		}
	}
	reach(reflect.TypeFor[Header]())
	for _, body := range bodies {
		reach(reflect.TypeOf(body()))
	}
	return types
}

// The document has the fields of every struct that a client needs, in their order, under their names and types. Who
// writes a client by it would otherwise put a value in the wrong place, and nothing would tell.
func TestDocumentHasTheStructs(t *testing.T) {
	text, err := os.ReadFile("../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	structs, needed := parseDocument(t, string(text))
	needed = append(needed, "Header", "Hello", "Error")
	types := structTypes()
	spoken := map[string]bool{}
	for name, doc := range structs {
		typ, ok := types[name]
		if !ok {
			t.Errorf("the document has a struct %s, the code has none", name)
			continue
		}
		var code []reflect.StructField
		for _, f := range reflect.VisibleFields(typ) {
			if f.Name != "_msgpack" && f.Tag.Get("msgpack") != "-" {
				code = append(code, f)
			}
		}
		for i := range max(len(doc), len(code)) {
			if i >= len(doc) || i >= len(code) {
				t.Errorf("%s has %d fields, in the document %d", name, len(code), len(doc))
				break
			}
			want := strings.ReplaceAll(doc[i].name, " ", "")
			if other, ok := fieldsSpoken[name+"."+doc[i].name]; ok {
				want = other
				spoken[name+"."+doc[i].name] = true
			}
			if got := typeAsDocumented(code[i].Type); !strings.EqualFold(want, code[i].Name) || got != doc[i].typ {
				t.Errorf("field %d of %s is %s, %s; the document has %s, %s", i+1, name, code[i].Name, got, doc[i].name, doc[i].typ)
			}
			needed = append(needed, structName.FindAllString(doc[i].typ, -1)...)
		}
	}
	slices.Sort(needed)
	for _, name := range slices.Compact(needed) {
		if structs[name] == nil {
			t.Errorf("the document names %s and does not have its fields", name)
		}
	}
	for name := range fieldsSpoken {
		if !spoken[name] {
			t.Errorf("the document has no field %s", name)
		}
	}
	t.Logf("%d structs", len(structs))
}
