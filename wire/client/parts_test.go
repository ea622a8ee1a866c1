package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// readParts is what locators name, read one after the other.
func readParts(t *testing.T, c *Client, ls wire.Locators) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, l := range ls {
		if _, err := c.Read(t.Context(), wire.ReadRequest{Locator: l}, &all); err != nil {
			t.Fatal(err)
		}
	}
	return all.Bytes()
}

// What is put is cut after so many bytes, whether or not its reader can seek or says how long it is.
func TestPutParts(t *testing.T) {
	const most = 300_000
	for _, size := range []int{0, 1, most - 1, most, most + 1, 2 * most, 2*most + 7} {
		for _, kind := range []string{"file", "pipe", "pipe of known length", "uncut"} {
			t.Run(fmt.Sprintf("%s/%d", kind, size), func(t *testing.T) {
				data := randomBytes(size)
				var r io.Reader = bytes.NewReader(data)
				o, cut := PutOptions{Length: int64(size)}, int64(most)
				switch kind {
				case "pipe":
					r, o.Length = onlyReader{r}, -1
				case "pipe of known length":
					r = onlyReader{r}
				case "uncut":
					cut = 0
				}
				cell := newFakeCell()
				c := newClient(t, 1, cell.node(t, "n1"))
				ls, err := c.PutParts(t.Context(), r, o, cut)
				if err != nil {
					t.Fatal(err)
				}
				want := max(1, (size+most-1)/most)
				if kind == "uncut" {
					want = 1
				}
				if len(ls) != want || !bytes.Equal(readParts(t, c, ls), data) {
					t.Errorf("stored as %s, want %d parts with the bytes that were put", ls, want)
				}
				for _, l := range ls[:len(ls)-1] {
					if l.Length != most {
						t.Errorf("%s is not %d bytes long", l, most)
					}
				}
			})
		}
	}
}

// A reader that is not as long as was said is noticed, and what is stored of it by then is named.
func TestPutPartsOfAnotherLength(t *testing.T) {
	const most = 300_000
	for _, size := range []int{2*most + 10, 2*most + 30} {
		cell := newFakeCell()
		c := newClient(t, 1, cell.node(t, "n1"))
		ls, err := c.PutParts(t.Context(), bytes.NewReader(randomBytes(size)), PutOptions{Length: 2*most + 20}, most)
		if wire.CodeOf(err) != wire.CodeInvalid || len(ls) != 2 || !strings.Contains(err.Error(), ls.String()) {
			t.Errorf("%d bytes: %s, %v", size, ls, err)
		}
	}
}

// A part that fails is put again, alone, if it can be read again; else the error says what is stored.
func TestPutPartsGoOn(t *testing.T) {
	const most = 2 * keptBytes
	data := randomBytes(2*most + 100)
	for _, again := range []bool{true, false} {
		cell := newFakeCell()
		n1, n2 := cell.node(t, "n1"), cell.node(t, "n2")
		puts := 0
		n1.set(func(_ context.Context, c *mux.ServerCall) error {
			if c.Op() != wire.OpPut {
				return nil
			}
			if puts++; puts != 2 {
				return nil
			}
			for got := 0; got <= keptBytes; {
				p, err := c.Recv()
				if err != nil {
					return err
				}
				got += len(p)
			}
			return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "not now")
		}, nil)
		c := newClient(t, 3, n1, n2)
		var r io.Reader = bytes.NewReader(data)
		if !again {
			r = onlyReader{r}
		}
		ls, err := c.PutParts(t.Context(), r, PutOptions{Length: int64(len(data))}, most)
		if again {
			if err != nil || len(ls) != 3 || !bytes.Equal(readParts(t, c, ls), data) {
				t.Errorf("%s, %v, want all bytes", ls, err)
			}
			if n := len(cell.stored(1)); n != len(data) {
				t.Errorf("%d bytes are stored, want each once: %d", n, len(data))
			}
			continue
		}
		if wire.CodeOf(err) != wire.CodeUnavailable || len(ls) != 1 || !strings.Contains(err.Error(), ls.String()) ||
			!strings.Contains(err.Error(), "cannot be read again") {
			t.Errorf("%s, %v, want the first part, named", ls, err)
		}
		if !bytes.Equal(readParts(t, c, ls), data[:most]) {
			t.Errorf("%s does not have the first bytes", ls)
		}
	}
}

// atWriter keeps what is written where. Parts do not overlap, so it needs no lock.
type atWriter []byte

func (w atWriter) WriteAt(p []byte, at int64) (int, error) { return copy(w[at:], p), nil }

// Parts are read at once from the nodes that have them, one of which is gone and one of which breaks off in the middle.
func TestReadAtOnce(t *testing.T) {
	data := randomBytes(3*segmentBytes + 1000)
	cell := newFakeCell()
	n1, n2, n3 := cell.node(t, "n1"), cell.node(t, "n2"), cell.node(t, "n3")
	for _, n := range []*fakeNode{n1, n2, n3} {
		cell.nodes = append(cell.nodes, wire.Node{ID: n.id, Addr: n.addr(), State: "up"})
	}
	c := newClient(t, 3, n1)
	cut := 2*segmentBytes + 5
	var ls wire.Locators
	for _, p := range [][]byte{data[:cut], data[cut:]} {
		part, err := c.Put(t.Context(), bytes.NewReader(p), PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, part)
	}
	n2.cutAt = 1_000_003
	n3.kill()
	got := make(atWriter, len(data))
	if err := c.ReadAtOnce(t.Context(), ls, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Error("other bytes were read than were put")
	}
	if n := n2.asked(wire.OpRead); n == 0 {
		t.Error("only one node was asked")
	}
	ls = append(ls, wire.Locator{Extent: 77, Length: 1})
	if err := c.ReadAtOnce(t.Context(), ls, append(got, 0)); wire.CodeOf(err) != wire.CodeNotFound {
		t.Errorf("%v, want %s", err, wire.CodeNotFound)
	}
}
