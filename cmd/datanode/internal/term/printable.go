package term

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Much of what is printed was written by others: names that peers give themselves, classes, errors. A
// terminal obeys control characters, and a line break in a cell of a table is a forged row.

// Printable is s with everything that has no shape of its own written out, such as \x1b for an escape: control
// characters, marks of writing direction, bytes that are not UTF-8. Twice is as good as once.
func Printable(s string) string { return escape(s, "", quoted) }

// printableLines is printable that leaves line breaks and tabs.
func printableLines(s string) string { return escape(s, "\n\t", quoted) }

// OneLine is s on one line, with single spaces.
func OneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Printf is fmt.Sprintf of texts that were made printable. The format is the program's own.
func Printf(clean func(string) string, format string, args ...any) string {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = clean(arg)
		case error:
			args[i] = clean(arg.Error())
		}
	}
	return fmt.Sprintf(format, args...)
}

// escape replaces what is not printable, but for the characters in keep.
func escape(s, keep string, as func(r rune, bytes string) string) string {
	var b strings.Builder
	done := 0 // bytes of s that are in b
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		invalid := r == utf8.RuneError && size == 1
		if invalid || !unicode.IsPrint(r) && !strings.ContainsRune(keep, r) {
			b.WriteString(s[done:i])
			b.WriteString(as(r, s[i:i+size]))
			done = i + size
		}
		i += size
	}
	if done == 0 {
		return s
	}
	return b.String() + s[done:]
}

// quoted is a character as Go source has it, without the quotes.
func quoted(r rune, bytes string) string {
	if r == utf8.RuneError {
		return fmt.Sprintf(`\x%02x`, bytes)
	}
	text := strconv.QuoteRuneToASCII(r)
	return text[1 : len(text)-1]
}

// jsonText is v as JSON, indented unless indent is empty. What is not printable, and what encoding/json leaves as it
// is, becomes escapes: the values stay what they are.
func jsonText(v any, prefix, indent string) (string, error) {
	var text []byte
	var err error
	if indent == "" {
		text, err = json.Marshal(v)
	} else {
		text, err = json.MarshalIndent(v, prefix, indent)
	}
	return escape(string(text), "\n", quotedJSON), err
}

// quotedJSON is a character as JSON has it: in units of UTF-16.
func quotedJSON(r rune, _ string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune{r}) {
		fmt.Fprintf(&b, `\u%04x`, unit)
	}
	return b.String()
}
