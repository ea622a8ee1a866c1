package wire

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every operation type has the sessions that its requests may come in, and what it has not is refused. Who adds an
// operation type decides for a class of work.
func TestOperationsHaveSessions(t *testing.T) {
	for op := range opNames {
		own := op.Sessions()
		if len(own) == 0 {
			t.Errorf("%s has no session: add it to opSessions, and to the table of sessions in docs/wire.md", op)
		}
		for s := Session(0); s <= sessionEnd; s++ {
			err := op.CheckSession(s)
			if slices.Contains(own, s) != (err == nil) {
				t.Errorf("%s in %s: %v, its sessions are %v", op, s, err, own)
			}
			if err != nil && (CodeOf(err) != CodeProtocol || OutcomeOf(err) != NotDone ||
				len(own) > 0 && !strings.Contains(err.Error(), own[0].String())) {
				t.Errorf("%s in %s: %v, want protocol, not done, and where to send it", op, s, err)
			}
		}
	}
	for op := range opSessions {
		if !op.Known() {
			t.Errorf("%s has a session and no name", op)
		}
	}
}

// A submit goes in the session of deletes if it asks for nothing else.
func TestSubmitHasAClass(t *testing.T) {
	for _, c := range []struct {
		kinds string
		want  Session
	}{
		{"delete", SessionDelete}, {"delete delete", SessionDelete}, {"delete seal", SessionControl},
		{"seal", SessionControl}, {"", SessionControl},
	} {
		req := &SubmitRequest{}
		for _, kind := range strings.Fields(c.kinds) {
			req.Submit = append(req.Submit, Submission{Kind: kind})
		}
		if got := OpSubmit.SessionFor(req); got != c.want || req.OnlyDeletes() != (c.want == SessionDelete) {
			t.Errorf("submit of %q goes in %s, want %s", c.kinds, got, c.want)
		}
	}
}

var (
	sessionRow   = regexp.MustCompile(`^\| (\d) (\w+) \| ([a-z, -]+) \|$`)
	operationRow = regexp.MustCompile(`^\| \d+ \| ([a-z-]+) \| (\d \w+(?:, \d \w+)*) \|`)
)

// The document names the sessions of every operation type, in its table of sessions and in that of operations.
func TestDocumentHasTheSessions(t *testing.T) {
	text, err := os.ReadFile("../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	told, operations := map[string][]string{}, 0
	for _, line := range strings.Split(string(text), "\n") {
		if m := sessionRow.FindStringSubmatch(line); m != nil {
			for _, op := range strings.Split(m[3], ", ") {
				told[op] = append(told[op], m[1]+" "+m[2])
			}
		}
	}
	for op, name := range opNames {
		var want []string
		for _, s := range op.Sessions() {
			want = append(want, string('0'+byte(s))+" "+s.String())
		}
		slices.Sort(want)
		got := told[name]
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the document's table of sessions has %s in %q, the code in %q", name, got, want)
		}
		delete(told, name)
	}
	for name := range told {
		t.Errorf("the document's table of sessions has an operation %s, the code has none", name)
	}
	for _, line := range strings.Split(string(text), "\n") {
		m := operationRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		operations++
		if got, want := m[2], sessionsOf(m[1]); got != want {
			t.Errorf("the document's table of operations has %s in %q, the code in %q", m[1], got, want)
		}
	}
	if operations < 10 {
		t.Errorf("%d rows of operations with a session found", operations)
	}
}

// sessionsOf are the sessions of an operation as the document has them.
func sessionsOf(name string) string {
	var all []string
	for op, n := range opNames {
		if n == name {
			for _, s := range op.Sessions() {
				all = append(all, string('0'+byte(s))+" "+s.String())
			}
		}
	}
	return strings.Join(all, ", ")
}
