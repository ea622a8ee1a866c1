package client

import (
	"bytes"
	"context"
	"testing"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// inlineNode is a node that can send bytes with the reply, and answers reads as answer says.
func inlineNode(t *testing.T, answer func(*mux.ServerCall, wire.ReadRequest) error) *fakeNode {
	t.Helper()
	n := newFakeCell().node(t, "n1")
	n.takes = wire.FeatureReadInline
	n.set(func(_ context.Context, c *mux.ServerCall) error {
		var req wire.ReadRequest
		if err := c.Decode(&req); err != nil {
			return err
		}
		return answer(c, req)
	}, nil)
	return n
}

// A small read is one request and one response where the node can do that, a large one and one of a whole extent come
// as chunks; a node that is older, or that has to ask another one, is asked for chunks always.
func TestReadInline(t *testing.T) {
	data := randomBytes(wire.MaxInlineBytes + 1)
	node := inlineNode(t, func(c *mux.ServerCall, req wire.ReadRequest) error {
		p := data[:req.Locator.Length]
		if req.Whole {
			p = data
		}
		reply := &wire.ReadReply{Length: uint64(len(p)), Node: "n1", Sum: crc32c.Sum(p), Summed: true}
		if req.Node != "" {
			reply.Node = req.Node
		}
		inline := !c.Streams()
		if want := len(p) <= wire.MaxInlineBytes && !req.Whole && req.Node != "n2"; inline != want ||
			want && int(req.Inline) != len(p) {
			t.Errorf("%+v: asked for chunks: %v, with the reply: %d", req, c.Streams(), req.Inline)
		}
		if inline {
			return c.ReplyBytes(reply, mux.Bytes{Parts: [][]byte{p[:1], p[1:]}})
		}
		if err := c.Send(p); err != nil {
			return err
		}
		return c.Reply(reply, nil)
	})
	c := newClient(t, 1, node)
	for _, req := range []wire.ReadRequest{
		{Locator: wire.Locator{Extent: 1, Length: 1}},
		{Locator: wire.Locator{Extent: 1, Length: 4096}},
		{Locator: wire.Locator{Extent: 1, Length: wire.MaxInlineBytes}},
		{Locator: wire.Locator{Extent: 1, Length: wire.MaxInlineBytes + 1}},
		{Locator: wire.Locator{Extent: 1}, Whole: true},
		{Locator: wire.Locator{Extent: 1, Length: 9}, Node: "n1"},
		{Locator: wire.Locator{Extent: 1, Length: 9}, Node: "n2"},
	} {
		want := data[:req.Locator.Length]
		if req.Whole {
			want = data
		}
		var got bytes.Buffer
		reply, err := c.Read(t.Context(), req, &got)
		if err != nil || !bytes.Equal(got.Bytes(), want) || reply.Length != uint64(len(want)) {
			t.Errorf("%+v: %d bytes, %+v, %v", req, got.Len(), reply, err)
		}
	}
}

// A node that sends other bytes than it has read, in frames that are right, is found out: before the caller has any of
// them where they come with the reply.
func TestReadSum(t *testing.T) {
	data := randomBytes(wire.MaxInlineBytes + 5000)
	other := bytes.Clone(data)
	other[700] ^= 4
	node := inlineNode(t, func(c *mux.ServerCall, req wire.ReadRequest) error {
		n := req.Locator.Length
		reply := &wire.ReadReply{Length: n, Node: "n1", Sum: crc32c.Sum(data[:n]), Summed: true}
		if req.Inline > 0 {
			return c.Reply(reply, other[:n])
		}
		if err := c.Send(other[:n]); err != nil {
			return err
		}
		return c.Reply(reply, nil)
	})
	c := newClient(t, 1, node)
	for _, n := range []int{1000, len(data)} {
		var got bytes.Buffer
		_, err := c.Read(t.Context(), wire.ReadRequest{Locator: wire.Locator{Extent: 1, Length: uint64(n)}}, &got)
		if wire.CodeOf(err) != wire.CodeCorrupt {
			t.Errorf("%d bytes: %v, want %s", n, err, wire.CodeCorrupt)
		}
		if n <= wire.MaxInlineBytes && got.Len() > 0 {
			t.Errorf("%d bytes: %d of them were given out", n, got.Len())
		}
	}
	if n := node.asked(wire.OpRead); n != 2 {
		t.Errorf("asked %d times, want 2: what is damaged is not read again as if nothing were", n)
	}
}
