package logs

import (
	"fmt"
	"testing"
	"time"
)

// What starts in the entry that admits it is drawn as running from there on.
func TestTimelineOfStartsInAdmits(t *testing.T) {
	w := newWritten()
	w.RunAll("clock 2026-11-30T00:00:00Z\njoin n1 n2\nset max-running 1\ncreate on=n1 start\ncreate on=n2 start\n")
	line, err := ReadTimeline(t.Context(), w.export(t, 1, 0), Range{}, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range line.ops {
		last := o.spans[len(o.spans)-1]
		got = append(got, fmt.Sprintf("%s runs=%t on=%q", o.id, last.running, last.node))
	}
	want := `[3 runs=true on="n1" 4 runs=false on=""]`
	if fmt.Sprint(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}
