package logs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

// written is a cell of which every entry is kept, and can be read as an export.
type written struct {
	*statetest.Cell
	entries []wire.LogEntry
}

func newWritten() *written {
	w := &written{Cell: statetest.New()}
	w.Log = func(i state.Index, at state.Micros, cmds []state.Command) {
		w.entries = append(w.entries, describe.Entry(raftlog.EntryInfo{Index: i, Term: 1, Micros: at, Kind: "commands",
			Commands: cmds}))
	}
	return w
}

// export is the log from an entry on, without one of them.
func (w *written) export(t *testing.T, from, without uint64) *File {
	t.Helper()
	var out bytes.Buffer
	err := Export(&out, "test", time.Unix(0, 0), func(yield func(wire.LogEntry, error) bool) {
		for _, e := range w.entries {
			if e.Index >= from && e.Index != without && !yield(e, nil) {
				return
			}
		}
	})
	path := filepath.Join(t.TempDir(), "log.jsonl")
	if err == nil {
		err = os.WriteFile(path, out.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// contrary is a policy that decides otherwise than the native default.
type contrary struct{ policies.Policy }

func (contrary) Info() policies.Info {
	return policies.Info{Name: "contrary", Version: "3", Digest: "sha256:0", Reasons: []string{"out of spite"}}
}

func (contrary) Score(_ context.Context, _ []policies.Facts, out []policies.Score) (uint64, error) {
	for i := range out {
		out[i] = policies.Score{Priority: 7}
	}
	return 0, nil
}

func (contrary) Conflict(_ context.Context, _ []policies.Pair, out []policies.Resolution) (uint64, error) {
	for i := range out {
		out[i] = policies.Resolution{Verdict: policies.Wait}
	}
	return 0, nil
}

// TestExplain reads testdata/explain: "cell" writes a log by lines of package statetest, "explain" prints the story of
// an op=, extent= or node=, with from= out of the entries from there on only, with without= without one, with
// rerun= asked again of the native default or of one that decides otherwise.
func TestExplain(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "explain"), func(t *testing.T, path string) {
		w := newWritten()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "cell" {
				return w.RunAll(d.Input)
			}
			var op, node, again string
			var extent, from, without uint64
			d.MaybeScanArgs(t, "op", &op)
			d.MaybeScanArgs(t, "node", &node)
			d.MaybeScanArgs(t, "extent", &extent)
			d.MaybeScanArgs(t, "from", &from)
			d.MaybeScanArgs(t, "without", &without)
			d.MaybeScanArgs(t, "rerun", &again)
			q := Question{Extent: extent, Node: node}
			if op != "" {
				id, err := state.ParseOpID(op)
				if err != nil {
					t.Fatal(err)
				}
				q.Op = id
			}
			return explained(t, w.export(t, from, without), q, again)
		})
	})
}

func explained(t *testing.T, f *File, q Question, again string) string {
	x, err := Explain(t.Context(), f, q)
	if err != nil {
		return strings.ReplaceAll(err.Error(), f.Path, "FILE") + "\n"
	}
	verdict := ""
	if again != "" {
		agrees, err := x.Rerun(t.Context(), func(context.Context, *Account) (policies.Policy, error) {
			if again == "contrary" {
				return contrary{}, nil
			}
			return policies.Native(), nil
		})
		if err != nil {
			return err.Error() + "\n"
		}
		verdict = fmt.Sprintf("agrees: %t\n", agrees)
		answer := "Operation " + x.Operations[0].Op + ":"
		x.Sentences = slices.DeleteFunc(x.Sentences, func(s string) bool { return !strings.HasPrefix(s, answer) })
	}
	return strings.Join(x.Sentences, "\n") + "\n" + verdict
}
