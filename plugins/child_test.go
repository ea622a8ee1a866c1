package plugins

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What a child has compiled is loaded here, and what it found is what this process would have found.
func TestChildCompiles(t *testing.T) {
	h := newParent(t, Options{})
	for name, module := range map[string][]byte{"tiny": tiny(nil), "default": Default(), "Go": buildChatty(t)} {
		t.Run(name, func(t *testing.T) {
			first, err := h.Check(t.Context(), module)
			if err != nil {
				t.Fatal(err)
			}
			if first.FromCache || first.Name == "" || first.MachineBytes == 0 || first.Scores.CostMax == 0 ||
				first.StartCost == 0 {
				t.Errorf("%+v", first)
			}
			if limited := first.Unlimited == ""; limited && (first.ChildPeakBytes == 0 || first.ChildNanos == 0) {
				t.Errorf("the child took %d bytes and %d ns", first.ChildPeakBytes, first.ChildNanos)
			}
			again, err := h.Check(t.Context(), module)
			if err != nil || !again.FromCache || again.Scores != first.Scores {
				t.Fatalf("%+v, %v", again, err)
			}
			here, err := newHost(t, Options{}).Check(t.Context(), module)
			if err != nil || here.StartCost != first.StartCost || here.Scores.CostMax != first.Scores.CostMax ||
				here.Conflicts.BatchCost != first.Conflicts.BatchCost || here.Unlimited == "" {
				t.Errorf("in this process %+v, %v, in the child %+v", here, err, first)
			}
			if err := askBoth(compile(t, h, module), 1); err != nil {
				t.Error(err)
			}
		})
	}
}

// A child that is none is not the module's fault.
func TestChildIsNone(t *testing.T) {
	for what, child := range map[string][]string{
		"does not start": {"/nowhere"},
		"another one":    {childCommand(t)[0], "-test.run=^$"},
	} {
		h := newHost(t, Options{Child: child})
		_, err := h.Compile(t.Context(), tiny(nil))
		if refused := (*LoadError)(nil); err == nil || errors.As(err, &refused) ||
			!strings.Contains(err.Error(), "does not act as one") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A child that gets nothing done though it has time left is not the module's fault either.
func TestChildStarved(t *testing.T) {
	h := newHost(t, Options{Child: []string{"/bin/sh", "-c",
		"printf '" + strings.TrimSpace(greeting) + "\\n'; exec sleep 60"}})
	h.limits = func(*prepared) limits { return limits{Data: childData, Processor: 20 * time.Millisecond} }
	_, err := h.Compile(t.Context(), tiny(nil))
	if refused := (*LoadError)(nil); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "too busy") {
		t.Errorf("%v, want that the machine is too busy", err)
	}
}

func TestChildCancelled(t *testing.T) {
	h := newHost(t, Options{Child: childCommand(t)})
	ctx, cancel := context.WithCancel(t.Context())
	h.compiling <- struct{}{} // as if another module were being compiled
	done := make(chan error)
	go func() {
		_, err := h.Compile(ctx, tiny(nil))
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	<-h.compiling
}

// A system without limits is reported once, and the report says so.
func TestUnlimitedChild(t *testing.T) {
	var logged bytes.Buffer
	h := newHost(t, Options{Logger: slog.New(slog.NewJSONHandler(&logged, nil))})
	for range 2 {
		v := &verdict{Report: &Report{Unlimited: "plan9 has no limits for it"}, Unlimited: "plan9 has no limits for it"}
		if r, err := h.judged(v); err != nil || r.Unlimited == "" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if n := strings.Count(logged.String(), "without limits"); n != 1 || !strings.Contains(logged.String(), "plan9") {
		t.Errorf("logged %d times: %s", n, logged.String())
	}
}

// What a child is asked is bounded, whoever asks.
func TestBadErrands(t *testing.T) {
	for what, in := range map[string]string{
		"nothing":      "",
		"no JSON":      "hello\n",
		"no end":       strings.Repeat("x", 2*maxErrandBytes),
		"a long one":   `{"module_bytes": 9000000}` + "\n",
		"less than 0":  `{"module_bytes": -1}` + "\n",
		"half of one":  `{"module_bytes": 8}` + "\nabc",
		"other limits": `{"module_bytes": 0, "memory_pages": 70000}` + "\n",
	} {
		e, _, err := readErrand(bufio.NewReaderSize(strings.NewReader(in), maxErrandBytes))
		if err == nil {
			_, err = e.run(t.Context(), nil, "")
		}
		if refused := (*LoadError)(nil); err == nil || errors.As(err, &refused) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
