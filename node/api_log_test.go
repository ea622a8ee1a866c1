package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// A page of the log fits a frame, however large the entries are, and the pages together are the whole.
func TestLogPagesFit(t *testing.T) {
	large := wire.LogEntry{Commands: []wire.LogCommand{{Text: "text", JSON: make([]byte, logPageBytes/3)}}}
	huge := wire.LogEntry{Commands: []wire.LogCommand{{JSON: make([]byte, 2*logPageBytes)}}}
	var all []wire.LogEntry
	for i := range 20 {
		e := large
		if i%7 == 3 {
			e = huge
		}
		e.Index = uint64(i + 1)
		all = append(all, e)
	}
	from, pages := 0, 0
	for from < len(all) {
		page := logEntries{}
		for _, e := range all[from:] {
			if !page.add(e) {
				break
			}
		}
		if len(page.entries) == 0 || len(page.entries) > 1 && page.bytes > logPageBytes {
			t.Fatalf("a page of %d entries and %d bytes", len(page.entries), page.bytes)
		}
		for _, e := range page.entries {
			if from++; e.Index != uint64(from) {
				t.Fatalf("entry %d comes where %d should", e.Index, from)
			}
		}
		pages++
	}
	if pages < 10 {
		t.Errorf("%d pages", pages)
	}
	newest := logEntries{newest: true}
	for _, e := range all {
		if !newest.add(e) {
			t.Fatal("the newest entries are not reached")
		}
	}
	var got []uint64
	for _, e := range newest.entries {
		got = append(got, e.Index)
	}
	if fmt.Sprint(got) != "[19 20]" {
		t.Errorf("the newest that fit are %v", got)
	}
}

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
	for name, req := range map[string]wire.LogRequest{"from": {From: uint64(index), To: uint64(index)}, "newest": {To: uint64(index), Limit: 1}} {
		reply, err := c.client.LogEntries(ctx, req)
		if err != nil || len(reply.Entries) != 1 || reply.Entries[0].Index != uint64(index) {
			t.Fatalf("%s: %d entries, %v, want entry %d alone", name, len(reply.Entries), err, index)
		}
		e := reply.Entries[0]
		if entryBytes(e) <= logPageBytes || len(e.Commands) < len(commands) {
			t.Fatalf("%s: %d commands of %d bytes, want %d", name, len(e.Commands), entryBytes(e), len(commands))
		}
		first := len(e.Commands) - len(commands) // another caller's may have come into the same entry
		for i, cmd := range e.Commands[first:] {
			if want := fmt.Sprintf("-%d", i); !strings.HasSuffix(cmd.Text, want) {
				t.Fatalf("%s: command %d is %q, want one that ends in %s", name, i, cmd.Text, want)
			}
		}
	}
}
