package logs

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

// busyCell is a cell that was asked for n operations at least, of all kinds, with a node that comes and goes and two
// changes of policy. Its clock moves by no more than pause an entry.
func busyCell(n int, pause time.Duration) *written {
	w := newWritten()
	r := rand.New(rand.NewSource(7)) //nolint:gosec // a picture
	w.Run("clock 2026-11-30T01:00:00Z")
	w.Run("join n1 n2 n3 n4 voter")
	ops := func() (n int) { w.State.Ops(0, func(*state.Op) bool { n++; return true }); return n }
	for round := 0; ops() < n; round++ {
		extent := round + 1
		seal := "seal %d as=client/a<&\"b"
		lines := []string{"create on=n1,n2,n3 as=client/app", "start create executor=n1", "finish create done",
			fmt.Sprintf(seal, extent), "start seal executor=n2", "finish seal done length=4096 sum=9 confirmed=n1,n2,n3"}
		switch round % 5 {
		case 1:
			lines = append(lines, fmt.Sprintf("move %d from=n1 to=n4", extent),
				"start move source=n2 target=n4 replaces=n1 executor=n4", fmt.Sprintf("delete %d", extent),
				"finish move retry detail=timeout", "start delete")
		case 2:
			lines = append(lines, fmt.Sprintf("suspect %d n3", extent), fmt.Sprintf("repair %d origin=cell", extent),
				"start repair source=n1 target=n3 executor=n3", "finish repair fail detail=lost")
		case 3:
			lines = append(lines, fmt.Sprintf("delete %d", max(extent-2, 1)), "start delete", "down n4", "up n4")
		case 4:
			lines = append(lines, fmt.Sprintf("move %d from=n2 to=n4", extent), "cancel move")
		}
		for _, line := range lines {
			w.Now += state.Micros(r.Int63n(pause.Microseconds()) + 1)
			w.Run(line)
		}
		for _, node := range []string{"n1", "n2", "n3", "n4"} {
			w.Run(fmt.Sprintf("gone %d %s", max(extent-r.Intn(3), 1), node))
		}
		if round == n/8 {
			w.Run("load p<1>")
			w.Run("activate p<1>")
			w.Run("clock 5h")
		}
	}
	for i := range w.entries {
		w.entries[i].Term = 1 + uint64(2*i/len(w.entries))
	}
	return w
}

func drawn(t *testing.T, f *File, byNode bool) string {
	t.Helper()
	line, err := ReadTimeline(t.Context(), f, Range{}, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := line.WriteSVG(&out, byNode); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// element is one of the picture.
type element struct {
	name, class, text string
}

// elements reads the picture as a browser does, and fails where it is no XML.
func elements(t *testing.T, svg string) (all []element) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local}
			for _, a := range token.Attr {
				if a.Name.Local == "class" {
					e.class = a.Value
				}
			}
			all = append(all, e)
		case xml.CharData:
			if len(all) > 0 {
				all[len(all)-1].text += string(token)
			}
		}
	}
}

// A picture is XML, with every operation, every end, and whatever is in a name, in lanes of either sort.
func TestTimeline(t *testing.T) {
	for _, n := range []int{1, 30, 600} {
		w := busyCell(n, time.Second)
		ended := map[string]int{}
		ops := 0
		w.State.Ops(0, func(o *state.Op) bool {
			ops++
			if o.State.Ended() {
				ended[o.State.String()]++
			} else {
				ended["open"]++
			}
			return true
		})
		for _, byNode := range []bool{false, true} {
			all := elements(t, drawn(t, w.export(t, 0, 0), byNode))
			titles, caps := map[string]bool{}, map[string]int{}
			hostile, leaders := false, 0
			for i, e := range all {
				if e.name == "title" && i > 0 && all[i-1].class == "o" && strings.Contains(e.text, "asked for by") {
					titles[strings.SplitN(e.text, "\n", 2)[0]] = true
				}
				hostile = hostile || e.name == "title" && strings.Contains(e.text, `asked for by client/a<&"b`)
				if e.name == "rect" && ended[e.class] > 0 {
					caps[e.class]++
				}
				if e.class == "leader m" {
					leaders++
				}
			}
			if len(titles) != ops || !hostile {
				t.Errorf("%d operations, by node %t: %d are drawn; a name with < & and a quote is there: %t", ops, byNode,
					len(titles), hostile)
			}
			if n > 1 && leaders != 1 {
				t.Errorf("%d operations, by node %t: %d changes of leaders, want 1", ops, byNode, leaders)
			}
			for outcome, n := range ended {
				if got := caps[outcome] - 1; byNode && got < n || !byNode && got != n { // one is the legend's
					t.Errorf("%d operations, by node %t: %d end as %s, want %d", ops, byNode, got, outcome, n)
				}
			}
		}
	}
}

// Without the entries from the first one on it is drawn what the others say: what was superseded, and what came later.
func TestTimelineWithoutState(t *testing.T) {
	w := busyCell(30, time.Second)
	caps := map[string]int{}
	for _, e := range elements(t, drawn(t, w.export(t, 8, 0), false)) {
		if e.name == "rect" {
			caps[e.class]++
		}
	}
	for class, least := range map[string]int{"superseded": 2, "done": 10, "failed": 2, "cancelled": 2, "open": 2} {
		if caps[class] < least {
			t.Errorf("%d are %s, want %d at least", caps[class], class, least)
		}
	}
}

// What is queued waits while what it met has not ended, and no longer.
func TestTimelineWaits(t *testing.T) {
	var tl Timeline
	o := &timedOp{waits: []state.OpID{7}, spans: []span{{from: 10, to: 50}, {running: true, from: 50, to: 60}, {from: 60}}}
	for _, c := range []struct {
		ended map[state.OpID]int64
		want  string
	}{
		{map[state.OpID]int64{}, "[{queued 10 50} {running 50 60} {queued 60 99}]"},
		{map[state.OpID]int64{7: 30}, "[{waiting 10 30} {queued 30 50} {running 50 60} {queued 60 99}]"},
		{map[state.OpID]int64{7: 0}, "[{waiting 10 50} {running 50 60} {waiting 60 99}]"},
	} {
		if got := fmt.Sprint(tl.parts(o, c.ended, 99)); got != c.want {
			t.Errorf("that met one which ended at %v: %s, want %s", c.ended, got, c.want)
		}
	}
}

// Times are in order on the axis and within it; a night in which nothing happens is drawn short, and
// even times are not.
func TestAxis(t *testing.T) {
	var busy, even []int64
	for i := range int64(100) {
		even = append(even, 1e6*i)
		busy = append(busy, 1e6*i)
	}
	for i := range int64(100) {
		busy = append(busy, 36_000e6+1e6*i)
	}
	for name, c := range map[string]struct {
		times []int64
		gaps  int
	}{"even": {even, 0}, "a night": {busy, 1}, "one": {[]int64{5}, 0}, "none": {nil, 0}, "two": {[]int64{1, 1e12}, 0}} {
		a := newAxis(slices.Clone(c.times), 100, 1000)
		if len(a.gaps) != c.gaps {
			t.Errorf("%s: gaps %v, want %d", name, a.gaps, c.gaps)
		}
		last := 99.0
		for _, at := range c.times {
			x := a.of(at)
			if x <= last || x > 1100.001 {
				t.Fatalf("%s: %d is at %f, after %f", name, at, x, last)
			}
			last = x
		}
		for _, g := range a.gaps {
			if width := a.of(g.to) - a.of(g.from); width > 100 {
				t.Errorf("%s: a gap takes %f of 1000", name, width)
			}
		}
		ticks := a.ticks()
		if len(ticks) == 0 || len(ticks) > 12 {
			t.Errorf("%s: %d ticks: %v", name, len(ticks), ticks)
		}
	}
}
