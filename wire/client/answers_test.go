package client

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
)

// lyingNode is a cell of one node that answers some calls with what it is told to.
func lyingNode(t *testing.T, answers map[wire.OpType]any) (*Client, *fakeNode) {
	t.Helper()
	n := newFakeCell().node(t, "n1")
	n.mu.Lock()
	n.lies = answers
	n.mu.Unlock()
	return newClient(t, 1, n), n
}

// The client believes no answer that is to something else than it asked for: of another kind, of another extent, of
// none. What the cell did is unknown then, the request is not repeated, and the next one has a session of its own.
func TestAnotherAnswerIsNotBelieved(t *testing.T) {
	for _, test := range []struct {
		name   string
		asked  wire.Submission
		answer wire.Submitted
		want   string // that the error says; empty: it is believed
	}{
		{"a seal's to a delete", wire.Submission{Kind: "delete", Extent: 7}, wire.Submitted{Op: "9", Extent: 7, Kind: "seal"},
			"a seal of extent 7"},
		{"another extent's", wire.Submission{Kind: "delete", Extent: 7}, wire.Submitted{Op: "9", Extent: 8, Kind: "delete"},
			"extent 8"},
		{"another extent's, of an older node", wire.Submission{Kind: "delete", Extent: 7}, wire.Submitted{Op: "9", Extent: 8},
			"extent 8"},
		{"an extent's to a decommission", wire.Submission{Kind: "decommission", Node: "n2"},
			wire.Submitted{Op: "9", Extent: 8}, "extent 8"},
		{"a create of nothing", wire.Submission{Kind: "create"}, wire.Submitted{Op: "9", Kind: "create"}, "no extent"},
		{"a refusal of another kind", wire.Submission{Kind: "delete", Extent: 7},
			wire.Submitted{Kind: "seal", Code: wire.CodePrecondition}, "a seal"},
		{"no operation", wire.Submission{Kind: "delete", Extent: 7}, wire.Submitted{Extent: 7, Kind: "delete"},
			"no operation"},
		{"its own", wire.Submission{Kind: "delete", Extent: 7}, wire.Submitted{Op: "9", Extent: 7, Kind: "delete"}, ""},
		{"its own, of an older node", wire.Submission{Kind: "delete", Extent: 7}, wire.Submitted{Op: "9", Extent: 7}, ""},
		{"a refusal", wire.Submission{Kind: "delete", Extent: 7}, wire.Submitted{Kind: "delete", Code: wire.CodeNotFound},
			""},
		{"a decommission", wire.Submission{Kind: "decommission", Node: "n2"}, wire.Submitted{Op: "9", Kind: "decommission"},
			""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, n := lyingNode(t, map[wire.OpType]any{wire.OpSubmit: &wire.SubmitReply{Results: []wire.Submitted{test.answer}}})
			_, err := c.Submit(t.Context(), []wire.Submission{test.asked}, SubmitOptions{})
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			notBelieved(t, err, test.want)
			if n.asked(wire.OpSubmit) != 1 {
				t.Errorf("asked %d times", n.asked(wire.OpSubmit))
			}
			if id, first, err := c.session.Number(t.Context(), 1, opensNumber(99)); id != 99 || first != 1 || err != nil {
				t.Error("the session is used again")
			}
		})
	}
}

func notBelieved(t *testing.T, err error, want string) {
	t.Helper()
	if wire.CodeOf(err) != wire.CodeProtocol || wire.OutcomeOf(err) != wire.Unknown ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("got %v (%s), want a protocol error of unknown outcome that says %q", err, wire.OutcomeOf(err), want)
	}
}

// Other answers are compared with the question as well.
func TestAnswersAreAboutWhatWasAsked(t *testing.T) {
	ctx := t.Context()
	for _, test := range []struct {
		name   string
		op     wire.OpType
		answer any
		ask    func(*Client) error
		want   string
	}{
		{"cancel", wire.OpCancel, &wire.Op{ID: "8"}, func(c *Client) error { _, err := c.Cancel(ctx, "7"); return err },
			"operation 8"},
		{"op show", wire.OpShowOp, &wire.Op{ID: "7.1"}, func(c *Client) error { _, err := c.Op(ctx, "7"); return err },
			"operation 7.1"},
		{"verify", wire.OpVerify, &wire.VerifyReply{Replicas: []wire.Verified{{Extent: 7}, {Extent: 8}}},
			func(c *Client) error { _, err := c.Verify(ctx, 7); return err }, "extent 8"},
		{"log verify", wire.OpLogVerify, &wire.LogVerifyReply{Node: "n2"},
			func(c *Client) error { _, err := c.LogVerify(ctx, "n1"); return err }, "n2"},
		{"log chain", wire.OpLogChain, &wire.LogChainReply{Node: "n1", Index: 6},
			func(c *Client) error { _, err := c.LogChain(ctx, "n1", 5); return err }, "entry 6"},
		{"put to an extent", wire.OpPut, &wire.Locator{Extent: 8, Length: 3}, func(c *Client) error {
			_, err := c.Put(ctx, bytes.NewReader([]byte("abc")), PutOptions{Extent: 7, Length: 3})
			return err
		}, "extent 8"},
		{"read of a node's replica", wire.OpRead, &wire.ReadReply{Node: "n2"}, func(c *Client) error {
			_, err := c.Read(ctx, wire.ReadRequest{Locator: wire.Locator{Extent: 7}, Node: "n1"}, io.Discard)
			return err
		}, "n2"},
		{"policy load", wire.OpPolicyLoad, &wire.Policy{Module: "sha256:00"},
			func(c *Client) error { _, err := c.PolicyLoad(ctx, []byte("abc")); return err }, "sha256:00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := lyingNode(t, map[wire.OpType]any{test.op: test.answer})
			notBelieved(t, test.ask(c), test.want)
		})
	}
	c, _ := lyingNode(t, map[wire.OpType]any{wire.OpShowOp: &wire.Op{ID: "7"}})
	for _, id := range []string{"7", "7.0", "07"} { // a person types it so, and the cell answers in its own way
		if _, err := c.Op(ctx, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
