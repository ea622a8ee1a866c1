package api

import (
	"github.com/datanode/datanode/wire"
)

const (
	logPage = 500 // entries of one answer, at most
	// LogPageBytes bounds their commands as text: an entry of 256 decisions has 170 KiB, a frame 1 MiB.
	LogPageBytes = 512 << 10
)

// logEntries is a page that fits a frame: the first entries that it is given, or the newest ones. There is at
// least one.
type logEntries struct {
	newest  bool
	entries []wire.LogEntry
	bytes   int
}

// add reports whether to go on.
func (p *logEntries) add(e wire.LogEntry) bool {
	size := entryBytes(e)
	if !p.newest && len(p.entries) > 0 && p.bytes+size > LogPageBytes {
		return false
	}
	p.entries, p.bytes = append(p.entries, e), p.bytes+size
	for len(p.entries) > 1 && p.bytes > LogPageBytes {
		p.bytes -= entryBytes(p.entries[0])
		p.entries = p.entries[1:]
	}
	return true
}

func entryBytes(e wire.LogEntry) (n int) {
	for _, cmd := range e.Commands {
		n += commandBytes(cmd)
	}
	return n
}

func commandBytes(c wire.LogCommand) int { return len(c.Text) + len(c.JSON) + len(c.AskedBy) }

// cutEntry is the part of an entry after its first skip commands that fits a page, one command at least.
func cutEntry(e wire.LogEntry, skip int) wire.LogEntry {
	rest := e.Commands[min(max(skip, 0), len(e.Commands)):]
	n, bytes := 0, 0
	for n < len(rest) && (n == 0 || bytes+commandBytes(rest[n]) <= LogPageBytes) {
		bytes += commandBytes(rest[n])
		n++
	}
	e.Commands, e.More = rest[:n], len(rest)-n
	return e
}
