package term

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Tables are aligned, and have as many words in each line as there are columns.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	a := &Terminal{Stdout: &out, Output: FormatTable}
	type row struct{ a, b string }
	err := List(a, Items([]row{{"x", ""}, {"longer", "é"}}),
		Col("A", func(r row) string { return r.a }), Col("B", func(r row) string { return r.b }))
	want := "A       B\nx       -\nlonger  é\n"
	if err != nil || out.String() != want {
		t.Fatalf("%v, printed\n%swant\n%s", err, out.String(), want)
	}
}

// Listings go on after the rows that were measured, and end with what came before an error.
func TestListIsWholeUpToAnError(t *testing.T) {
	broken := errors.New("broken")
	const rows = measuredRows + 500
	seq := func(yield func(int, error) bool) {
		for i := range rows {
			if !yield(i, nil) {
				return
			}
		}
		yield(0, broken)
	}
	var none bytes.Buffer
	if err := List(&Terminal{Stdout: &none, Output: FormatTable}, func(yield func(int, error) bool) { yield(0, broken) },
		Col[int]("N", nil)); err == nil || none.Len() > 0 {
		t.Errorf("%v, behind a table of nothing: %q", err, none.String())
	}
	for _, output := range []string{FormatTable, FormatJSON, FormatLines} {
		var out bytes.Buffer
		a := &Terminal{Stdout: &out, Output: output}
		err := List(a, seq, Col("N", func(n int) string { return fmt.Sprint(n) }))
		if !errors.Is(err, broken) || !strings.Contains(out.String(), fmt.Sprint(rows-1)) {
			t.Errorf("%s: %v, and the last row is missing", output, err)
		}
		if output == FormatJSON && !json.Valid(out.Bytes()) {
			t.Error("the array is not closed")
		}
	}
}

// Columns stand below each other on a screen, where some characters take two columns and some none.
func TestTableAlignsWideText(t *testing.T) {
	var out bytes.Buffer
	a := &Terminal{Stdout: &out, Output: FormatTable}
	type row struct{ name, class string }
	err := List(a, Items([]row{
		{"夜間優先", "gold"},             // four characters of two columns
		{"re\u0301paration", "gold"}, // an accent that combines with the letter before it
		{"plain", "gold"},
	}), Col("NAME", func(r row) string { return r.name }), Col("CLASS", func(r row) string { return r.class }))
	want := "NAME        CLASS\n夜間優先    gold\nre\u0301paration  gold\nplain       gold\n"
	if err != nil || out.String() != want {
		t.Fatalf("%v, printed\n%swant\n%s", err, out.String(), want)
	}
}
