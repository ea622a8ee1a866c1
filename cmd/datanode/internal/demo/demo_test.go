package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
)

// demoTree is a small tree to store: 24 folders of 4 files, of which some are larger than one record
// of an extent file.
func demoTree(t *testing.T) string {
	root := t.TempDir()
	for folder := range 24 {
		dir := filepath.Join(root, fmt.Sprintf("p%02d", folder))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for file := range 4 {
			text := fmt.Sprintf("folder %d, file %d\n", folder, file)
			data := []byte(strings.Repeat(text, 1+(folder*file*file*97)%9000))
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d", file)), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func TestMain(m *testing.M) { clitest.Main(m) }

// run is a program that has this command only.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := cli.New(strings.NewReader(""), stdout, stderr, clitest.NoEnv)
	return a.Execute(ctx, a.Root("datanode", "", "", Command(a)), args)
}

// TestDemo runs it as a person would, on real files.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	notes := &clitest.Watcher{}
	code := run(t.Context(), []string{"demo", "--files", "300", "-o", "json"}, &out, notes)
	var told Account
	if err := json.Unmarshal(out.Bytes(), &told); err != nil || code != exit.Done {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, out.String(), notes)
	}
	if told.Files != 300 || told.Read != told.Kept*told.Copies || told.Kept == 0 || told.Deleted == 0 || told.Moves == 0 ||
		told.Repairs == 0 {
		t.Errorf("it said:\n%s", out.String())
	}
	if told.Wrong != 0 || told.Findings != 0 || !strings.Contains(notes.String(), "n3 is safe to remove") {
		t.Errorf("%d wrong replies, %d findings, and on stderr:\n%s", told.Wrong, told.Findings, notes)
	}
}

// wrong is one thing that goes wrong behind the cell's back, and how the demo reports it.
type wrong struct {
	name string
	do   func(*Replay) (undo func() error, err error)
	code int
	want string
}

// The demo's checks find what they are for. What is done last stays, and decides the exit code.
func TestDemoFinds(t *testing.T) {
	var out, notes bytes.Buffer
	a := cli.New(nil, &out, &notes, clitest.NoEnv)
	a.Output = term.FormatJSON
	d := Options{Source: demoTree(t), Nodes: minNodes, Dir: filepath.Join(t.TempDir(), "cell"),
		Logs: cli.LogFlags{Level: cli.LogOff}}
	d.meddle = func(r *Replay) error {
		for _, w := range []wrong{
			{"another file's bytes", swapLocators, exit.Corrupt, "the original"},
			{"a lost file", loseBytes, exit.Corrupt, " on n"},
			{"a forgotten delete", forgetDelete, exit.Failed, "still has a file of the deleted extent"},
			{"a file that came back", bringBack, exit.Failed, "n2 still has a file of the deleted extent"},
		} {
			t.Run(w.name, func(t *testing.T) { w.run(t, r) })
		}
		_, err := flipByte(r)
		return err
	}
	err := Run(t.Context(), a, d)
	if code := exit.Code(t.Context(), err); code != exit.Corrupt || !strings.Contains(notes.String(), "checksum") {
		t.Errorf("exit code %d, want %d and a finding about a checksum: %v\n%s", code, exit.Corrupt, err, notes.String())
	}
	if _, err := os.Stat(d.Dir); err == nil {
		t.Error("the data is still there")
	}
}

// run does it, inspects the cell and makes it undone again.
func (w wrong) run(t *testing.T, r *Replay) {
	undo, err := w.do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Inspect(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Join(r.Found.First, "\n"); r.Found.code != w.code || !strings.Contains(got, w.want) {
		t.Errorf("exit code %d, want %d and a finding with %q; found:\n%s", r.Found.code, w.code, w.want, got)
	}
	r.Found, r.Account.Kept, r.Account.Disks = Findings{}, 0, 0
	if err := undo(); err != nil {
		t.Fatal(err)
	}
}

// aReplica is where a package has one of its replicas on a disk.
func aReplica(r *Replay, p *Package) (string, error) {
	known, err := r.extents(context.Background())
	if err != nil {
		return "", err
	}
	return clitest.ExtentPath(filepath.Join(r.Options.Dir, known[p.Extent].Replicas[0].Node), p.Extent), nil
}

// flipByte does it to another package than loseBytes: what that did was seen by a read, so the cell repairs the replica
// in its own time, and puts right what would be found.
func flipByte(r *Replay) (undo func() error, err error) {
	kept := r.kept()
	return change(r, kept[len(kept)-1], func(path string, data []byte) error {
		data[bytes.Index(data, []byte("folder"))] ^= 1
		return overwrite(path, data)
	})
}

func loseBytes(r *Replay) (undo func() error, err error) {
	return change(r, r.kept()[0], func(path string, data []byte) error { return os.Truncate(path, int64(len(data)/2)) })
}

// change changes a replica's file in place.
func change(r *Replay, p *Package, how func(path string, data []byte) error) (undo func() error, err error) {
	path, err := aReplica(r, p)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return func() error { return overwrite(path, data) }, how(path, bytes.Clone(data))
}

// overwrite writes into the file that is there, which the node may have open.
func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Close())
}

// swapLocators is what a reply that was taken for another's does.
func swapLocators(r *Replay) (undo func() error, err error) {
	files := r.kept()[0].Files
	swap := func() error {
		files[0].locator, files[1].locator = files[1].locator, files[0].locator
		return nil
	}
	return swap, swap()
}

// forgetDelete has the books say that one more extent was deleted than was.
func forgetDelete(r *Replay) (undo func() error, err error) {
	p := r.kept()[0]
	p.Deleted = true
	return func() error { p.Deleted = false; return nil }, nil
}

// bringBack is what a repair that ignores a delete does.
func bringBack(r *Replay) (undo func() error, err error) {
	from, err := aReplica(r, r.kept()[0])
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	to := clitest.ExtentPath(filepath.Join(r.Options.Dir, lost), r.deleted()[0].Extent)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return nil, err
	}
	return func() error { return os.Remove(to) }, os.WriteFile(to, data, 0o600)
}

// An interrupt ends the demo in good order, wherever it is.
func TestDemoInterrupted(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	notes := &clitest.Watcher{Want: "at once: ", Then: interrupt}
	code := run(ctx, []string{"demo", "--source", demoTree(t)}, &bytes.Buffer{}, notes)
	if code != exit.Interrupted {
		t.Errorf("exit code %d, want %d: %s", code, exit.Interrupted, notes)
	}
	left, err := filepath.Glob(filepath.Join(temp, "datanode-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// lacking says what an extent lacks.
func TestLacking(t *testing.T) {
	up := func(id string) wire.Replica { return wire.Replica{Node: id, NodeState: "up"} }
	for _, c := range []struct {
		extent wire.Extent
		want   string
	}{
		{wire.Extent{State: "sealed", Want: 2, Live: 2, Replicas: []wire.Replica{up("n1"), up("n4")}}, ""},
		{wire.Extent{State: "open", Want: 2, Live: 2}, "open"},
		{wire.Extent{State: "sealed", Want: 2, Live: 1}, "1 of 2"},
		{wire.Extent{State: "sealed", Want: 1, Live: 1, Replicas: []wire.Replica{up(Leaving)}}, "on n3"},
		{wire.Extent{}, `is ""`},
	} {
		if got := lacking(c.extent); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v lacks %q, want %q", c.extent, got, c.want)
		}
	}
}
