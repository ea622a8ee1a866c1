package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const operationsPage = "../../docs/operations.md"

// untaught are the refusals of Apply that no lesson can come to, and their tests.
var untaught = map[string]string{
	"… operations on it are open already; wait for some to end": "./raftlog/state TestOpenOpsOfAnExtentAreBounded",
	"decided against … open operations, now there are …":        "./raftlog/state TestDecidedAgainstOthers",
	"decided against operation …, now there is …":               "./raftlog/state TestDecidedAgainstOthers",
	"more than … operations would have a place of their own; put … first instead, or cancel some": "./raftlog/state " +
		"TestChosenOrderIsBounded",
	"this version has no operation …":                                      "./raftlog/state TestUnknownKind",
	"a create names neither an extent nor a node; its number is given out": "./raftlog/state TestCreateNamesNothing",
}

// The tables of docs/operations.md are what the program does, and each refusal has been seen in a test.
func TestOperationsPage(t *testing.T) {
	text, err := os.ReadFile(operationsPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	page = between(t, page, "envelope", envelopeMarkdown())
	page = between(t, page, "apply", applyMarkdown(t))
	page = between(t, page, "step", stepMarkdown(t))
	if flag.Lookup("rewrite").Value.String() == "true" { // the flag of the lessons
		if err := os.WriteFile(operationsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page != string(text) {
		t.Errorf("%s differs; run this test with -rewrite and read the diff", operationsPage)
	}
}

// between puts a table between the marks of a page.
func between(t *testing.T, page, mark, table string) string {
	t.Helper()
	begin, end := "<!-- begin "+mark+" -->\n", "<!-- end "+mark+" -->"
	head, rest, ok := strings.Cut(page, begin)
	_, tail, more := strings.Cut(rest, end)
	if !ok || !more {
		t.Fatalf("%s has no table %q", operationsPage, mark)
	}
	return head + begin + table + end + tail
}

func envelopeMarkdown() string {
	var b strings.Builder
	b.WriteString("| existing | incoming | allowed | otherwise | why |\n|---|---|---|---|---|\n")
	for _, c := range envelopeCells("", "") {
		incoming := c.Incoming
		if c.Node != "" {
			incoming += ", from the " + c.Node + " node"
		}
		incoming = strings.Replace(incoming, "the other", "another", 1)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.Existing, incoming, strings.Join(c.Allowed, ", "), c.Otherwise,
			c.Reason)
	}
	return b.String()
}

// refusal is a call in the source that refuses something.
type refusal struct{ text, code string }

func applyMarkdown(t *testing.T) string {
	t.Helper()
	lessons := lessonText(t)
	var b strings.Builder
	b.WriteString("| refusal | code | seen in |\n|---|---|---|\n")
	for _, file := range []string{"admit.go", "start.go", "finish.go", "serial.go", "grace.go"} {
		for _, r := range refusals(t, filepath.Join("../../raftlog/state", file), applyCodes) {
			seen := "lesson"
			if !r.pattern().MatchString(lessons) {
				test, ok := untaught[r.text]
				if !ok {
					t.Errorf("%s: no lesson comes to %q, and no other test is named", file, r.text)
					continue
				}
				checkFaultTests(t, strings.Fields(test))
				seen = "`" + test + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.text, r.code, seen)
		}
	}
	return b.String()
}

func stepMarkdown(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| refusal | code |\n|---|---|\n")
	for _, r := range refusals(t, "../../node/replica/steps.go", stepCodes) {
		fmt.Fprintf(&b, "| %s | %s |\n", r.text, r.code)
	}
	return b.String()
}

func lessonText(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../../raftlog/state/testdata/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no lessons: %v", err)
	}
	var all strings.Builder
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// pattern finds what a refusal has printed.
func (r refusal) pattern() *regexp.Regexp {
	return regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(r.text), "…", "[^\n]{1,80}?"))
}

var formatVerb = regexp.MustCompile(`%[#+0-9]*[a-z]`)

// refusals are the calls in a file that make a refusal of a text, in their order, each text once.
func refusals(t *testing.T, name string, makers map[string]string) (all []refusal) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[refusal]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		r := refusal{code: makers[called(call)]}
		if r.code == "" {
			return true
		}
		for _, arg := range call.Args {
			if sel, ok := arg.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "Code") {
				r.code = codeWord(sel.Sel.Name)
			}
			if r.text == "" {
				r.text = formatVerb.ReplaceAllString(literal(arg), "…")
			}
		}
		if strings.Trim(r.text, "… :") != "" && !seen[r] {
			seen[r] = true
			all = append(all, r)
		}
		return true
	})
	if len(all) == 0 {
		t.Errorf("%s refuses nothing", name)
	}
	return all
}

// applyCodes and stepCodes are the functions that make a refusal, with its code where the call names none.
var (
	applyCodes = map[string]string{"refused": "?", "refuse": "?", "stale": "stale"}
	stepCodes  = map[string]string{"Errorf": "?", "Sprintf": "not-running"}
)

func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// literal is the text of a string that is written in one or several pieces, else "".
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.BinaryExpr:
		return literal(e.X) + literal(e.Y)
	}
	return ""
}

var upper = regexp.MustCompile(`[A-Z]`)

// codeWord is the code as it is printed: CodeNotFound is not-found.
func codeWord(name string) string {
	words := upper.ReplaceAllStringFunc(strings.TrimPrefix(name, "Code"), func(s string) string {
		return "-" + strings.ToLower(s)
	})
	return strings.TrimPrefix(words, "-")
}
