package modules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

// still is a log whose state does not change.
type still struct{ view *state.View }

func (s still) View() *state.View        { return s.view }
func (s still) Changed() <-chan struct{} { return nil }

// host compiles any module to the native default under another name, and knows what it holds. A module that is named
// bad is refused.
type host struct{ held map[string]bool }

type module struct {
	policies.Policy
	host *host
	name string
}

func (h *host) Compile(
	_ context.Context, bytes []byte, _ map[string]string, _ policies.Budget,
) (policies.Policy, error) {
	if string(bytes) == "bad" {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodeEnvelope, "it is bad")
	}
	h.held[string(bytes)] = true
	return &module{policies.Native(), h, string(bytes)}, nil
}

func (m *module) Info() policies.Info {
	return policies.Info{Name: m.name, Reasons: m.Policy.Info().Reasons}
}

func (m *module) Close(context.Context) error {
	delete(m.host.held, m.name)
	return nil
}

func (m *module) Score(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	if !m.host.held[m.name] {
		return 0, errors.New("policy " + m.name + ": it was closed")
	}
	return m.Policy.Score(ctx, facts, out)
}

// newRegistry is a registry on node n1 of a cell whose log names modules; the first is active. fetch is what others
// send.
func newRegistry(t *testing.T, fetch func(from state.NodeID) []byte, names ...string) (*Registry, *host) {
	t.Helper()
	cell, h := statetest.New(), &host{held: map[string]bool{}}
	run := func(line string) {
		if out := cell.Run(line); !strings.Contains(out, "ok") {
			t.Fatal(line, ": ", out)
		}
	}
	run("join n1 n2 n3")
	for _, name := range names {
		run("load " + DigestOf([]byte(name)))
	}
	if len(names) > 0 {
		run("activate " + DigestOf([]byte(names[0])))
	}
	r := New(Options{
		Node: "n1", Dir: "policies", FS: vfs.NewMem(), Log: still{cell.State.Snapshot()}, Host: h,
		Fetch: func(_ context.Context, from state.NodeID, digest string) ([]byte, error) {
			if m := fetch(from); m != nil {
				return m, nil
			}
			return nil, fmt.Errorf("%s does not have %s", from, digest)
		},
		Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r, h
}

// What another node sends is used only if it has the digest that the log names; then the next node is asked.
func TestFetchedModulesAreChecked(t *testing.T) {
	t.Parallel()
	var asked []state.NodeID
	r, h := newRegistry(t, func(from state.NodeID) []byte {
		asked = append(asked, from)
		return map[state.NodeID][]byte{"n2": []byte("forged"), "n3": []byte("gold")}[from]
	}, "gold")
	if !r.follow(t.Context(), r.o.Log.View()) {
		t.Error("it is to be looked at again though it was fetched")
	}
	digest := DigestOf([]byte("gold"))
	if !r.Has(digest) || h.held["forged"] || !h.held["gold"] || !slices.Contains(asked, "n2") {
		t.Errorf("asked %v, holds %v", asked, h.held)
	}
	if kept, err := r.Read(digest); err != nil || string(kept) != "gold" {
		t.Errorf("on disk is %q, %v", kept, err)
	}
	a := r.Ask(t.Context(), r.o.Log.View(), make([]policies.Facts, 2), nil)
	if d := a.Decision(1, policies.Facts{}, 3); a.Fallback != "" || d.Policy != digest || d.Epoch != 3 {
		t.Errorf("decided by %+v, fallback %q", d, a.Fallback)
	}
}

// Where the active policy is not, and where it fails, the native default decides the batch and says why.
func TestNativeDefaultStandsIn(t *testing.T) {
	t.Parallel()
	r, h := newRegistry(t, func(state.NodeID) []byte { return nil }, "gold")
	view, native := r.o.Log.View(), policies.Native().Info().Digest
	ask := func(want string) {
		t.Helper()
		a := r.Ask(t.Context(), view, make([]policies.Facts, 1), make([]policies.Pair, 1))
		if d := a.Decision(0, policies.Facts{}, 1); d.Policy != native || d.Fallback != want {
			t.Errorf("decided by %s, fallback %q, want %q", d.Policy, d.Fallback, want)
		}
	}
	r.follow(t.Context(), view) // nobody has it
	ask("policy " + view.Active + " is not compiled on n1")
	p, err := h.Compile(t.Context(), []byte("gold"), nil, state.MostBudget())
	if err != nil {
		t.Fatal(err)
	}
	r.Keep(t.Context(), view.Active, p)
	delete(h.held, "gold")
	ask("policy gold failed: it was closed")
}

// All that the log names are compiled once, and few stay in memory, among them the one that decides. What is refused is
// not tried again.
func TestFewStayInMemory(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e", "f", "bad"}
	byDigest := map[string][]byte{}
	for _, name := range names {
		byDigest[DigestOf([]byte(name))] = []byte(name)
	}
	r, h := newRegistry(t, nil, names...)
	fetched := map[string]int{}
	r.o.Fetch = func(_ context.Context, _ state.NodeID, digest string) ([]byte, error) {
		fetched[digest]++
		return byDigest[digest], nil
	}
	for range 2 {
		if !r.follow(t.Context(), r.o.Log.View()) {
			t.Error("something rests")
		}
	}
	if len(r.Digests()) != len(names)-1 || len(h.held) != 1+MaxIdle || !h.held["a"] {
		t.Errorf("%d are usable and %v in memory, want %d and %d", len(r.Digests()), h.held, len(names)-1, 1+MaxIdle)
	}
	for digest, times := range fetched {
		if times != 1 {
			t.Errorf("%s was fetched %d times", byDigest[digest], times)
		}
	}
}
