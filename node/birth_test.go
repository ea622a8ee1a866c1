package node

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rebirth makes the file of a replica one of an extent that was born otherwise, as a folder from another history
// of the cell has them: nothing in it is damaged.
func rebirth(t *testing.T, path string, birth uint32) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header, end := raw[:32], raw[len(raw)-16:]
	footer := raw[len(raw)-int(binary.LittleEndian.Uint32(end)):]
	binary.LittleEndian.PutUint32(header[24:], birth)
	binary.LittleEndian.PutUint32(header[28:], crc32.Checksum(header[:28], castagnoli))
	binary.LittleEndian.PutUint32(footer[24:], birth)
	binary.LittleEndian.PutUint32(end[8:], crc32.Checksum(footer[:len(footer)-8], castagnoli))
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A locator says which extent of its number it means. Another one's bytes are refused, however they are asked for.
func TestReadOfAnotherBirth(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	small := c.put(pattern(1, 1000))
	large := c.sealed(pattern(2, 3*appendPiece))
	for _, loc := range []wire.Locator{small, large} {
		if e := c.any().log.View().Extent(state.ExtentID(loc.Extent)); loc.Birth != e.Birth() {
			t.Fatalf("put answered %s, the extent was born %s", loc, wire.BirthText(e.Birth()))
		}
		for _, node := range []string{"", "n1", "n2", "n3"} {
			if _, err := c.get(loc, node); err != nil {
				t.Errorf("read of %s on %q: %v", loc, node, err)
			}
			other, unknown := loc, loc
			other.Birth ^= 1
			if got, err := c.get(other, node); wire.CodeOf(err) != wire.CodeNotFound ||
				!strings.Contains(err.Error(), wire.BirthText(other.Birth)) || len(got) > 0 {
				t.Errorf("read of %s on %q, which is no extent of this cell: %d bytes, %v", other, node, len(got), err)
			}
			unknown.Birth = 0
			if _, err := c.get(unknown, node); err != nil {
				t.Errorf("read of %s on %q: %v", unknown, node, err)
			}
		}
	}
}

// The file of another extent of the same number is not this one's replica, though every checksum in it is right: it
// goes to quarantine when the node starts, and the replica is made anew.
func TestFileOfAnotherBirth(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	want := pattern(1, 2*appendPiece)
	loc := c.sealed(want)
	c.kill("n2")
	rebirth(t, c.file("n2", loc.Extent), loc.Birth^1)
	c.start("n2")
	c.ready("n2")
	c.until("repaired", func(n *Node) bool { return repairs(n.log.View(), loc.Extent) >= 1 })
	c.whole()
	c.verified(loc.Extent, 3)
	if got, err := c.get(loc, "n2"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the repair: %d bytes, %v", len(got), err)
	}
	aside, err := filepath.Glob(filepath.Join(c.configs["n2"].Dir, "store", "quarantine", "*.ext"))
	if err != nil || len(aside) != 1 {
		t.Errorf("in quarantine: %v %v", aside, err)
	}
}
