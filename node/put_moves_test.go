package node

import (
	"bytes"
	"io"
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// eventful is a reader that cannot be read twice, with something that happens on the way.
type eventful struct {
	r     io.Reader
	after int // bytes
	then  func()
}

func (e *eventful) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.after -= n; e.after <= 0 && e.then != nil {
		e.then()
		e.then = nil
	}
	return n, err
}

// A large put from a pipe goes on in another extent when its own takes no more: when a replica is lost on the way, and
// when the cell seals it.
func TestLargePutMovesOn(t *testing.T) {
	c := newCell(t, 3, 0)
	primary := client.New(client.Options{Addrs: []string{c.nodes["n1"].Addr()}, Name: t.Name()})
	defer primary.Close()
	written := func() (e *state.Extent) { // the extent that is being written to
		c.nodes["n1"].log.View().Extents(0, func(x *state.Extent) bool {
			if x.State == state.ExtentOpen {
				e = x
			}
			return true
		})
		return e
	}
	for name, then := range map[string]func(){
		"its extent is sealed": func() {
			c.run(wire.Submission{Kind: policies.KindSeal.String(), Extent: uint64(written().ID)})
		},
		"a replica is lost": func() { c.kill("n3") },
	} {
		data := pattern(7, 9<<20)
		in := &eventful{r: bytes.NewReader(data), after: 5 << 20, then: then}
		loc, err := primary.Put(testContext(t), in, client.PutOptions{})
		if err != nil || loc.Offset != 0 || loc.Length != uint64(len(data)) {
			t.Fatalf("%s: %v, %v", name, loc, err)
		}
		if got, err := c.get(loc, "n1"); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(data), err)
		}
		c.until("the half that was written first is gone", func(n *Node) bool {
			left := 0
			n.log.View().Extents(0, func(e *state.Extent) bool {
				if e.State != state.ExtentDeleted && e.ID < state.ExtentID(loc.Extent) && e.Length != uint64(len(data)) {
					left++
				}
				return true
			})
			return left == 0
		})
	}
}
