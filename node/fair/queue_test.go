package fair

import (
	"strings"
	"testing"
)

// Whoever has put much into the queue waits behind its own, and not the others behind that.
func TestQueue(t *testing.T) {
	q := Queue[string]{Most: 10, MostEach: 6}
	leave := map[string]func() bool{}
	push := func(items ...string) {
		for _, item := range items {
			if leave[item] = q.Push(item[:1], item); leave[item] == nil {
				t.Errorf("no room for %s", item)
			}
		}
	}
	take := func(n int, may func(string) bool) string {
		var got []string
		for range n {
			_, item, ok := q.Next(may)
			if !ok {
				break
			}
			got = append(got, item)
		}
		return strings.Join(got, " ")
	}
	is := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	push("e1", "e2", "e3", "e4", "e5", "b1", "b2", "c1")
	is("in turn", take(4, nil), "e1 b1 c1 e2")
	push("d1")
	is("who comes later has the next turn but those before", take(3, nil), "b2 e3 d1")
	push("b3")
	is("without who may not", take(3, func(s string) bool { return s != "e" }), "b3")
	if !leave["e4"]() || leave["e4"]() || leave["e1"]() {
		t.Error("who waits can leave once, who had its turn cannot")
	}
	is("without who has left", take(9, nil), "e5")
	if q.Len() != 0 || len(q.lines) != 0 || q.order.Len() != 0 {
		t.Errorf("%d items, %d lines, %d in order; want none", q.Len(), len(q.lines), q.order.Len())
	}

	push("e1", "e2", "e3", "e4", "e5", "e6")
	if q.Push("e", "e7") != nil {
		t.Error("more than one may have")
	}
	push("a1", "b1", "c1", "d1")
	if q.Push("f", "f1") != nil {
		t.Error("more than there may be")
	}
}
