package term

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"":                         "",
		"plain – 日本語 'é'":          "plain – 日本語 'é'",
		"\x1b[31mred":              `\x1b[31mred`,
		"a\nn1  up\r\x00\x7f":      `a\nn1  up\r\x00\x7f`,
		"\u009b1mC1 \u202eright":   `\u009b1mC1 \u202eright`,
		"half \xc3":                `half \xc3`,
		"\xff":                     `\xff`,
		"kept: \ufffd \\x1b":       "kept: \ufffd \\x1b",
		"a tag\U000e0001 of space": `a tag\U000e0001 of space`,
	} {
		if got := Printable(s); got != want {
			t.Errorf("%q became %s, want %s", s, got, want)
		}
	}
	if got := printableLines("two\n\tlines\x07"); got != "two\n\tlines\\a" {
		t.Errorf("lines became %q", got)
	}
}

func TestPrintableAlways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		once := Printable(s)
		if strings.ContainsFunc(once, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q", s, once)
		}
		if twice := Printable(once); twice != once {
			t.Fatalf("%q became %q, and that %q", s, once, twice)
		}
		text, err := jsonText(s, "", "")
		want, _ := json.Marshal(s)
		var got, plain string
		if err != nil || json.Unmarshal([]byte(text), &got) != nil || json.Unmarshal(want, &plain) != nil || got != plain {
			t.Fatalf("%q became %s", s, text)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q", s, text)
		}
	})
}
