package api

import (
	"fmt"
	"testing"

	"github.com/datanode/datanode/wire"
)

// A page of the log fits a frame, however large the entries are, and the pages together are the whole.
func TestLogPagesFit(t *testing.T) {
	large := wire.LogEntry{Commands: []wire.LogCommand{{Text: "text", JSON: make([]byte, LogPageBytes/3)}}}
	huge := wire.LogEntry{Commands: []wire.LogCommand{{JSON: make([]byte, 2*LogPageBytes)}}}
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
		if len(page.entries) == 0 || len(page.entries) > 1 && page.bytes > LogPageBytes {
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
