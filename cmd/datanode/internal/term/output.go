package term

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/rivo/uniseg"
)

// measuredRows is how many rows of a table are looked at to find the widths of its columns. What
// comes later is printed as it comes, so that a listing of a million needs no memory.
const measuredRows = 1000

// Column is one column of a table. Cells are single words where that is possible, and never empty,
// so that awk can count them.
type Column[T any] struct {
	Head string
	Cell func(T) string
}

// Col is a column of what cell makes of an item.
func Col[T any](head string, cell func(T) string) Column[T] { return Column[T]{head, cell} }

// List prints items in the format that was asked for. When the items end in an error, what came before
// is printed in whole.
func List[T any](t *Terminal, items iter.Seq2[T, error], columns ...Column[T]) error {
	out := bufio.NewWriter(t.Stdout)
	var err error
	switch t.Output {
	case FormatJSON:
		err = listJSON(out, items)
	case FormatLines:
		err = listLines(out, items)
	default:
		err = listTable(out, items, columns)
	}
	return cmp.Or(err, wrote(out.Flush()))
}

// Follow prints items as they come: as lines of JSON or as rows of a table, whose columns grow as they have to.
func Follow[T any](t *Terminal, items iter.Seq2[T, error], columns ...Column[T]) error {
	out := bufio.NewWriter(t.Stdout)
	if t.Output == FormatLines {
		err := listLines(out, items)
		return cmp.Or(err, wrote(out.Flush()))
	}
	table := Table{Out: out, widths: make([]int, len(columns))}
	cells := func(cell func(Column[T]) string) []string {
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = cell(c)
		}
		table.grow(row)
		return row
	}
	head := cells(func(c Column[T]) string { return c.Head })
	for item, err := range items {
		if err != nil {
			return err
		}
		row := cells(func(c Column[T]) string { return c.Cell(item) })
		if head != nil {
			table.Row(head)
			head = nil
		}
		table.Row(row)
		if err := wrote(out.Flush()); err != nil {
			return err
		}
	}
	if head != nil {
		table.Row(head)
	}
	return wrote(out.Flush())
}

func wrote(err error) error {
	if err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

func listJSON[T any](out *bufio.Writer, items iter.Seq2[T, error]) error {
	var failed error
	sep := "[\n"
	for item, err := range items {
		if failed = err; failed != nil {
			break
		}
		text, err := jsonText(noNulls(item), "  ", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s  %s", sep, text) // errors stay in the writer until Flush
		sep = ",\n"
	}
	if sep == "[\n" {
		fmt.Fprintln(out, "[]")
	} else {
		fmt.Fprintln(out, "\n]")
	}
	return failed
}

func listLines[T any](out *bufio.Writer, items iter.Seq2[T, error]) error {
	for item, err := range items {
		if err != nil {
			return err
		}
		text, err := jsonText(noNulls(item), "", "")
		if err != nil {
			return err
		}
		fmt.Fprintln(out, text)
		if out.Buffered() > 0 && out.Flush() != nil {
			return nil // list reports it
		}
	}
	return nil
}

func listTable[T any](out *bufio.Writer, items iter.Seq2[T, error], columns []Column[T]) error {
	t := Table{Out: out}
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.Head
	}
	var failed error
	for item, err := range items {
		if failed = err; failed != nil {
			break
		}
		if head != nil {
			t.Row(head)
			head = nil
		}
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = c.Cell(item)
		}
		t.Row(row)
	}
	if head != nil && failed == nil {
		t.Row(head) // nothing was found, which is not the same as an error
	}
	t.Flush()
	return failed
}

// Table aligns columns with two spaces between them, as a screen shows them: a character may take two columns, or none.
type Table struct {
	Out    io.Writer
	rows   [][]string // held back until the widths are known
	widths []int      // nil until then
}

func (t *Table) Row(cells []string) {
	for i, c := range cells {
		if cells[i] = Printable(c); c == "" {
			cells[i] = "-"
		}
	}
	if t.widths != nil {
		t.print(cells)
		return
	}
	t.rows = append(t.rows, cells)
	if len(t.rows) > measuredRows {
		t.Flush()
	}
}

// grow makes the columns as wide as cells are.
func (t *Table) grow(cells []string) {
	for i, c := range cells {
		t.widths[i] = max(t.widths[i], uniseg.StringWidth(c))
	}
}

func (t *Table) Flush() {
	if t.widths == nil && len(t.rows) > 0 {
		t.widths = make([]int, len(t.rows[0]))
		for _, row := range t.rows {
			t.grow(row)
		}
	}
	for _, row := range t.rows {
		t.print(row)
	}
	t.rows = nil
}

func (t *Table) print(cells []string) {
	var line strings.Builder
	for i, c := range cells {
		line.WriteString(c)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", max(t.widths[i]-uniseg.StringWidth(c), 0)+2))
		}
	}
	fmt.Fprintln(t.Out, line.String()) // the writer below remembers its error
}

// Field is one line of a description: its name and its value.
type Field [2]string

// Show prints one thing: as JSON, or as its fields. Empty ones are left out.
func Show[T any](t *Terminal, item T, fields []Field) error {
	switch t.Output {
	case FormatJSON:
		return printJSON(t, item, "  ")
	case FormatLines:
		return printJSON(t, item, "")
	}
	width := 0
	for _, f := range fields {
		width = max(width, len(f[0]))
	}
	for _, f := range fields {
		if f[1] == "" {
			continue
		}
		if err := t.Print("%-*s  %s", width, f[0], f[1]); err != nil {
			return err
		}
	}
	return nil
}

func printJSON[T any](t *Terminal, item T, indent string) error {
	text, err := jsonText(noNulls(item), "", indent)
	if err != nil {
		return err
	}
	return t.write(text)
}

// Print writes a line of data.
func (t *Terminal) Print(format string, args ...any) error {
	return t.write(Printf(Printable, format, args...))
}

func (t *Terminal) write(line string) error {
	if _, err := io.WriteString(t.Stdout, line+"\n"); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// Items makes a sequence of a slice.
func Items[T any](all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range all {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// noNulls is v with empty lists where it has none: a script should never meet a null.
func noNulls[T any](v T) T {
	fillNils(reflect.ValueOf(&v).Elem())
	return v
}

func fillNils(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fillNils(f)
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		if k := v.Type().Elem().Kind(); k != reflect.Struct && k != reflect.Slice {
			return
		}
		for i := range v.Len() {
			fillNils(v.Index(i))
		}
	}
}

// Stamp is a moment given in microseconds since 1970; empty for none.
func Stamp(micros int64) string {
	if micros <= 0 {
		return ""
	}
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000Z")
}

// Number is n in decimal; empty for 0.
func Number[N ~int | ~uint64](n N) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// WhenYes is for fields that are left out otherwise.
func WhenYes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// Count is n in decimal.
func Count[N ~int | ~uint64](n N) string { return fmt.Sprint(n) }

func Percent(share float64) string {
	if share > 0 && share < 0.0005 {
		return "<0.1 %"
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}
