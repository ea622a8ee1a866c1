package client

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A snapshot comes in pieces, in order and whole, through the loss of a connection; a piece of another one, of another
// node or of another place is not believed.
func TestSnapshotInPieces(t *testing.T) {
	whole := bytes.Repeat([]byte("0123456789"), 100)
	for _, test := range []struct {
		name string
		lie  func(*wire.LogSnapshotReply)
		want string // that the error says
	}{
		{"as it is", func(*wire.LogSnapshotReply) {}, ""},
		{"of another", func(r *wire.LogSnapshotReply) { r.ID = "2-9-1" }, "snapshot 2-9-1"},
		{"of another node", func(r *wire.LogSnapshotReply) { r.Node = "n2" }, "the log of n2"},
		{"of another place", func(r *wire.LogSnapshotReply) { r.Offset-- }, "the bytes at"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, n := lyingNode(t, map[wire.OpType]any{})
			var calls atomic.Int64
			n.mu.Lock()
			n.before = func(_ context.Context, call *mux.ServerCall) error {
				var req wire.LogSnapshotRequest
				if err := call.Decode(&req); err != nil || call.Op() != wire.OpLogSnapshot {
					return err
				}
				if calls.Add(1) == 2 {
					return errCut
				}
				piece := whole[req.Offset:min(req.Offset+300, uint64(len(whole)))]
				reply := wire.LogSnapshotReply{Node: "n1", ID: "2-8-1", Offset: req.Offset, Size: uint64(len(whole)), Data: piece}
				if req.Offset > 0 {
					test.lie(&reply)
				}
				n.mu.Lock()
				defer n.mu.Unlock()
				n.lies[wire.OpLogSnapshot] = &reply
				return nil
			}
			n.mu.Unlock()
			var got bytes.Buffer
			of, was, err := c.LogSnapshot(t.Context(), "", "", &got)
			if test.want != "" {
				notBelieved(t, err, test.want)
				return
			}
			if err != nil || of != "n1" || was != "2-8-1" || !bytes.Equal(got.Bytes(), whole) {
				t.Errorf("%d bytes of %s on %s, %v", got.Len(), was, of, err)
			}
			if calls.Load() != 5 { // four pieces, one of them twice
				t.Errorf("%d calls", calls.Load())
			}
		})
	}
}
