package main

import (
	"slices"
	"strings"

	"github.com/datanode/datanode/plugins/abi"
	"github.com/datanode/datanode/policies"
)

// sections are the tables of the document by the names of their markers.
func sections(s abi.Schema) map[string]string {
	tables := map[string]string{
		"exports": functionTable("export", s.Exports), "imports": functionTable("function", s.Imports),
		"header": recordTable(s.Header), "facts": recordTable(s.Facts), "pair": pairTable(s),
		"score": recordTable(s.Score), "resolution": recordTable(s.Resolve),
		"envelope": envelopeTable(s),
	}
	for _, e := range s.Enums {
		tables[e.Name] = enumTable(e)
	}
	return tables
}

func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

func recordTable(r abi.Record) string {
	var rows [][]string
	v1 := slices.ContainsFunc(r.Fields, func(f abi.Field) bool { return f.V1 != "" })
	for _, f := range r.Fields {
		row := []string{itoa(f.At), docType(f), f.Name, f.Unit, meaning(f)}
		if v1 {
			row = append(row, f.V1)
		}
		rows = append(rows, row)
	}
	head := []string{"at", "type", "field", "unit", "meaning"}
	if v1 {
		head = append(head, "v1")
	}
	return table(head, rows)
}

// pairTable is the one record that is made of others.
func pairTable(s abi.Schema) string {
	facts := func(at, name, doc string) string { return "| " + at + " | facts | " + name + " |  | " + doc + " |\n" }
	first := itoa(s.Pair.Size())
	return recordTable(s.Pair) +
		facts(first, "existing", "the operation that the cell holds, queued or running") +
		facts(first+" + facts_stride", "incoming", "the operation that arrives")
}

func docType(f abi.Field) string {
	if f.Type == abi.Flag {
		return "u8"
	}
	return strings.TrimPrefix(string(f.Type), "zero ")
}

func meaning(f abi.Field) string {
	switch {
	case f.Type.IsZero():
		return "0"
	case f.Type == abi.Flag:
		return "0 or 1: " + f.Doc + more(f)
	case f.Enum != "":
		return f.Doc + ": one of [" + f.Enum + "](#" + f.Enum + ")" + more(f)
	}
	return f.Doc + more(f)
}

func more(f abi.Field) string {
	if f.More == "" {
		return ""
	}
	return ". " + f.More
}

func enumTable(e abi.Enum) string {
	var rows [][]string
	for _, v := range e.Values {
		rows = append(rows, []string{itoa(v.Number), v.Name, v.Doc})
	}
	return table([]string{"number", e.Name, "meaning"}, rows)
}

// functionTable lists exports or imports.
func functionTable(what string, fs []abi.Func) string {
	var rows [][]string
	for _, f := range fs {
		name, sig := "`"+f.Name+"`", "`"+f.Signature()+"`"
		if f.Module != "" {
			name = "`" + f.Module + "` " + name
		}
		doc := f.Doc
		if f.Optional {
			doc = "optional; " + doc
		}
		rows = append(rows, []string{name, sig, doc})
	}
	if what == "export" {
		rows = append([][]string{{"`memory`", "memory", "the module's own; it must not be imported. At most 256 pages of " +
			"64 KiB by default"}}, rows...)
	}
	return table([]string{what, "type", "meaning"}, rows)
}

// envelopeTable is policies.Envelope as a table: what is the same for several kinds is one row.
func envelopeTable(s abi.Schema) string {
	var rows [][]string
	for _, existing := range s.Kinds() {
		var order []policies.Safe
		incoming := map[policies.Safe][]string{}
		add := func(safe policies.Safe, name string) {
			if incoming[safe] == nil {
				order = append(order, safe)
			}
			incoming[safe] = append(incoming[safe], name)
		}
		for _, v := range s.Kinds() {
			have, comes := policies.Kind(existing.Number), policies.Kind(v.Number)
			apart, same := policies.Envelope(have, comes, false), policies.Envelope(have, comes, true)
			apart.Reason, same.Reason = "", "" // they are for people who run a cell: docs/operations.md
			if apart == same {
				add(apart, v.Name)
				continue
			}
			add(same, v.Name+" with same_node")
			add(apart, v.Name+" without same_node")
		}
		rows = append(rows, envelopeRows(existing.Name, order, incoming)...)
	}
	return table([]string{"existing", "incoming", "allowed", "fallback"}, rows)
}

// envelopeRows calls the row of the most kinds "any other", and puts it last.
func envelopeRows(existing string, order []policies.Safe, incoming map[policies.Safe][]string) [][]string {
	most := slices.MaxFunc(order, func(a, b policies.Safe) int { return len(incoming[a]) - len(incoming[b]) })
	var rows [][]string
	row := func(safe policies.Safe, names string) {
		rows = append(rows, []string{existing, names, allowed(safe), safe.Fallback.String()})
	}
	for _, safe := range order {
		if safe != most {
			row(safe, strings.Join(incoming[safe], ", "))
		}
	}
	if len(rows) == 0 {
		row(most, "any")
	} else {
		row(most, "any other")
	}
	return rows
}

func allowed(safe policies.Safe) string {
	var names []string
	for v := policies.Coexist; v <= policies.Reject; v++ {
		if safe.Allowed.Has(v) {
			names = append(names, v.String())
		}
	}
	return strings.Join(names, ", ")
}
