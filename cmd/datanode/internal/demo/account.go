package demo

import (
	"fmt"
	"sync"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
)

// Account is what the demo did and found.
type Account struct {
	Nodes      int    `json:"nodes"`
	Copies     int    `json:"replicas_each"`
	Files      int    `json:"files"`
	Bytes      int64  `json:"bytes"`
	Extents    int    `json:"extents"`
	Deleted    int    `json:"deleted_extents"`
	Moves      int    `json:"moves"`
	Repairs    int    `json:"repairs"`
	Superseded int    `json:"copies_superseded"`
	CutShort   int    `json:"copies_cut_short"` // those that had started
	Kept       int    `json:"files_left"`
	Read       int    `json:"replicas_read"`
	ReadBytes  int64  `json:"bytes_read"`
	Disks      int    `json:"disks_searched"`
	Entries    uint64 `json:"log_entries"`
	Wrong      uint64 `json:"wrong_replies"`
	Findings   int    `json:"findings"`

	store, storm, back, check time.Duration
}

// maxFindings is how many findings are named; the others are counted.
const maxFindings = 10

// Findings is what is not as it should be. Its methods may be called from any goroutine.
type Findings struct {
	mu    sync.Mutex
	count int      // guarded by mu
	code  int      // guarded by mu: corruption goes before all else
	First []string // guarded by mu: at most maxFindings
}

func (f *Findings) add(code int, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	f.code = max(f.code, code)
	if len(f.First) < maxFindings {
		f.First = append(f.First, fmt.Sprintf(format, args...))
	}
}

// conclude prints the account. What was found is the error.
func (r *Replay) conclude() error {
	t := &r.Account
	t.Nodes, t.Copies, t.Findings = r.Options.Nodes, r.Options.copies(), r.Found.count
	err := term.Show(r.App.Terminal, *t, []term.Field{
		{"stored", fmt.Sprintf("%d files, %s, in %d extents with %d replicas each on %d nodes", t.Files, megabytes(t.Bytes),
			t.Extents, t.Copies, t.Nodes)},
		{"at once", fmt.Sprintf("decommission of %s, %d deletes, loss of %s", Leaving, t.Deleted, lost)},
		{"recovered", fmt.Sprintf("%d moves, %d repairs; deletes ended %d others, %d of them half way", t.Moves, t.Repairs,
			t.Superseded, t.CutShort)},
		{"read back", fmt.Sprintf("%d files from every replica: %d reads, %s", t.Kept, t.Read, megabytes(t.ReadBytes))},
		{"searched", fmt.Sprintf("%d disks for files of %d deleted extents", t.Disks, t.Deleted)},
		{"logs", fmt.Sprintf("%d nodes, %d entries", t.Nodes, t.Entries)},
		{"wrong replies", term.Count(t.Wrong)},
		{"time", fmt.Sprintf("store %s, storm %s, return %s, check %s", seconds(t.store), seconds(t.storm), seconds(t.back),
			seconds(t.check))},
		{"findings", term.Count(t.Findings)},
	})
	if err != nil || r.Found.count == 0 {
		return err
	}
	for _, text := range r.Found.First {
		r.App.Note("found: %s", text)
	}
	if !r.Options.Keep {
		r.App.Note("run it again with --keep to look at what is on the disks")
	}
	return exit.With(r.Found.code, "%d things are not as they should be", r.Found.count)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
