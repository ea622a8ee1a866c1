package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/api"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// An entry that is larger than a frame is read in parts, and is whole at the caller.
func TestLargeEntriesAreListed(t *testing.T) {
	c := newCell(t, 1, 0)
	ctx := testContext(t)
	name := strings.Repeat("x", 100)
	commands := make([]state.Command, 4000)
	for i := range commands {
		commands[i] = &state.OpenSession{Client: fmt.Sprintf("%s-%d", name, i)}
	}
	_, index, err := c.nodes[c.leader()].log.Propose(ctx, commands...)
	if err != nil {
		t.Fatal(err)
	}
	for name, req := range map[string]wire.LogRequest{
		"from":   {From: uint64(index), To: uint64(index)},
		"newest": {To: uint64(index), Limit: 1},
	} {
		reply, err := c.client.LogEntries(ctx, req)
		if err != nil || len(reply.Entries) != 1 || reply.Entries[0].Index != uint64(index) {
			t.Fatalf("%s: %d entries, %v, want entry %d alone", name, len(reply.Entries), err, index)
		}
		e := reply.Entries[0]
		bytes := 0
		for _, cmd := range e.Commands {
			bytes += len(cmd.Text) + len(cmd.JSON) + len(cmd.AskedBy)
		}
		if bytes <= api.LogPageBytes || len(e.Commands) < len(commands) {
			t.Fatalf("%s: %d commands of %d bytes, want %d", name, len(e.Commands), bytes, len(commands))
		}
		first := len(e.Commands) - len(commands) // another caller's may have come into the same entry
		for i, cmd := range e.Commands[first:] {
			if want := fmt.Sprintf("-%d", i); !strings.HasSuffix(cmd.Text, want) {
				t.Fatalf("%s: command %d is %q, want one that ends in %s", name, i, cmd.Text, want)
			}
		}
	}
}
