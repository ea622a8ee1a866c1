package node

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"testing"
)

// twin is the configuration of a duplicate: a copy of a node's folder, made from under the running node, at another
// address.
func (c *cell) twin(id string) Config {
	c.t.Helper()
	cfg := c.configs[id]
	dir := filepath.Join(c.t.TempDir(), "copy")
	copyFolder(c.t, dir, cfg.Dir)
	cfg.Dir, cfg.Listener, cfg.Listen = dir, nil, "127.0.0.1:0"
	return cfg
}

// runs fails unless a node runs and takes puts.
func (c *cell) runs(id string) {
	c.t.Helper()
	select {
	case <-c.nodes[id].Done():
		c.t.Fatalf("%s has stopped: %v", id, c.nodes[id].Err())
	default:
	}
}

// A copy of the folder of a follower, and of the leader, is started while the node runs. The node goes on, and the copy
// is refused in a line that says where it runs.
func TestTwins(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	for _, id := range []string{v.id, v.leader()} {
		cfg := v.twin(id)
		oneLine(t, refused(t, cfg), id, v.configs[id].Listen, "copy", "--id")
		v.runs(id)
		p := pattern(100, 900)
		v.kept[v.put(p)] = p
	}
	v.whole()
	v.sound("afterwards")
}

// The copy says that it is at the very address of the node, which it cannot be.
func TestTwinsOfOneAddress(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	for _, id := range []string{v.id, v.leader()} {
		cfg := v.twin(id)
		cfg.Advertise = v.nodes[id].Addr()
		oneLine(t, refused(t, cfg), id, cfg.Advertise, "--id")
		v.runs(id)
		p := pattern(101, 900)
		v.kept[v.put(p)] = p
	}
	v.whole()
	v.sound("afterwards")
}

// Where one or two vote, nobody could elect a leader without the node: it is the copy itself that finds the other.
func TestTwinsOfFewVoters(t *testing.T) {
	t.Parallel()
	for _, voters := range []int{1, 2} {
		c := newCell(t, voters, 0)
		oneLine(t, refused(t, c.twin("n1")), "n1", c.configs["n1"].Listen, "copy", "--id")
		c.runs("n1")
		loc := c.put(pattern(1, 100))
		var got bytes.Buffer
		if err := c.readVia("n1", loc, &got); err != nil || !bytes.Equal(got.Bytes(), pattern(1, 100)) {
			t.Errorf("%d voters: %d bytes, %v", voters, got.Len(), err)
		}
	}
}

// One of two voters, the one that led, comes back at another address: the other one cannot be led without it.
func TestOtherPortOfOneOfTwo(t *testing.T) {
	t.Parallel()
	c := newCell(t, 2, 0)
	id := c.leader()
	c.kill(id)
	c.startElsewhere(id)
	c.put(pattern(1, 100))
}

// The copy comes first, after its node has stopped, and is a node that has moved. It is the node that then comes back
// which is refused.
func TestTwinThatCameFirst(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	old, moved := v.configs[v.id], v.twin(v.id)
	v.stopVictim()
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	moved.Listener, moved.Listen = l, l.Addr().String()
	v.configs[v.id] = moved
	v.start(v.id)
	v.ready(v.id)
	oneLine(t, refused(t, old), v.id, moved.Listen, old.Listen, "--id")
	v.runs(v.id)
	p := pattern(102, 900)
	v.kept[v.put(p)] = p
	v.whole()
	v.sound("afterwards")
}
