package exit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

func TestExitCodes(t *testing.T) {
	refusal := func(c wire.Code) error { return fmt.Errorf("wrapped: %w", wire.Errorf(wire.OpSubmit, c, "no")) }
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, Done},
		{errors.New("anything"), Failed},
		{refusal(wire.CodeInternal), Failed},
		{Usagef("no"), Usage},
		{refusal(wire.CodeInvalid), Usage},
		{refusal(wire.CodeNotFound), NotFound},
		{refusal(wire.CodeConflict), Refused},
		{refusal(wire.CodeEnvelope), Refused},
		{refusal(wire.CodePrecondition), Refused},
		{&plugins.LoadError{Reason: plugins.NotWasm}, Refused},
		{refusal(wire.CodeUnavailable), Unavailable},
		{refusal(wire.CodeConnection), Unavailable},
		{refusal(wire.CodeCorrupt), Corrupt},
		{fmt.Errorf("more: %w", With(Corrupt, "bad")), Corrupt},
	} {
		if got := Code(t.Context(), tc.err); got != tc.want {
			t.Errorf("%v: exit code %d, want %d", tc.err, got, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Code(ctx, refusal(wire.CodeCancelled)); got != Interrupted {
		t.Errorf("interrupted: exit code %d, want %d", got, Interrupted)
	}
}

// What to do about a cell that cannot be reached depends on what was there instead.
func TestAdvice(t *testing.T) {
	e := wire.Errorf(wire.OpStatus, wire.CodeUnavailable, "no node of the cell could be reached: a:1: it is so")
	for _, tc := range []struct {
		away   client.Unreachable
		has    []string
		hasNot []string
	}{
		{client.Unreachable{Silent: true}, []string{"it is so; check that a node is running there", "--addr", "datanode dev"},
			[]string{"--tls-cert"}},
		{client.Unreachable{Silent: true, Addr: "b:1"}, []string{"node ls"},
			[]string{"--addr", "datanode dev", "--tls-cert"}},
		{client.Unreachable{HungUp: true}, []string{"--tls-cert", "more connections than it takes"},
			[]string{"--addr", "datanode dev"}},
		{client.Unreachable{HungUp: true, TLS: true}, []string{"no certificate", "more connections than it takes"},
			[]string{"--addr", "--tls-cert"}},
		{client.Unreachable{HungUp: true, Silent: true}, []string{"--addr", "--tls-cert"}, nil},
		{client.Unreachable{}, nil, []string{";", "--addr", "--tls-cert"}},
	} {
		tc.away.Err = e
		for _, err := range []error{&tc.away, fmt.Errorf("n2: %w", &tc.away), With(Unavailable, "gave up: %w", &tc.away)} {
			text := Explain(t.Context(), err)
			for _, part := range tc.has {
				if !strings.Contains(text, part) {
					t.Errorf("%+v: %q lacks %q", tc.away, text, part)
				}
			}
			for _, part := range tc.hasNot {
				if strings.Contains(text, part) {
					t.Errorf("%+v: %q has %q", tc.away, text, part)
				}
			}
		}
	}
}
