package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

// TestDemo runs it as a person would, on real files.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	notes := &watcher{}
	code := runContext(t.Context(), []string{"demo", "--files", "300", "-o", "json"}, strings.NewReader(""), &out, notes, noEnv)
	var told account
	if err := json.Unmarshal(out.Bytes(), &told); err != nil || code != exitDone {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, out.String(), notes)
	}
	if told.Files != 300 || told.Read != told.Kept*told.Copies || told.Kept == 0 || told.Deleted == 0 || told.Moves == 0 || told.Repairs == 0 {
		t.Errorf("it said:\n%s", out.String())
	}
	if told.Wrong != 0 || told.Findings != 0 || !strings.Contains(notes.String(), "n3 is safe to remove") {
		t.Errorf("%d wrong replies, %d findings, and on stderr:\n%s", told.Wrong, told.Findings, notes)
	}
}

// wrong is one thing that goes wrong behind the cell's back, and how the demo tells of it.
type wrong struct {
	name string
	do   func(*replay) (undo func() error, err error)
	code int
	want string
}

// The demo's checks find what they are for. What is done last stays, and decides the exit code.
func TestDemoFinds(t *testing.T) {
	var out, notes bytes.Buffer
	a := &app{stdout: &out, stderr: &notes, output: outputJSON, env: noEnv}
	d := demonstration{source: demoTree(t), nodes: minDemoNodes, dir: filepath.Join(t.TempDir(), "cell"), logs: logFlags{level: logOff}}
	d.meddle = func(r *replay) error {
		for _, w := range []wrong{
			{"another file's bytes", swapLocators, exitCorrupt, "the original"},
			{"a lost file", loseBytes, exitCorrupt, " on n"},
			{"a forgotten delete", forgetDelete, exitFailed, "still has a file of the deleted extent"},
			{"a file that came back", bringBack, exitFailed, "n2 still has a file of the deleted extent"},
		} {
			t.Run(w.name, func(t *testing.T) { w.run(t, r) })
		}
		_, err := flipByte(r)
		return err
	}
	err := a.demo(t.Context(), d)
	if code := exitCode(t.Context(), err); code != exitCorrupt || !strings.Contains(notes.String(), "checksum") {
		t.Errorf("exit code %d, want %d and a finding about a checksum: %v\n%s", code, exitCorrupt, err, notes.String())
	}
	if _, err := os.Stat(d.dir); err == nil {
		t.Error("the data is still there")
	}
}

// run does it, inspects the cell and makes it undone again.
func (w wrong) run(t *testing.T, r *replay) {
	undo, err := w.do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.inspect(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Join(r.found.first, "\n"); r.found.code != w.code || !strings.Contains(got, w.want) {
		t.Errorf("exit code %d, want %d and a finding with %q; found:\n%s", r.found.code, w.code, w.want, got)
	}
	r.found, r.account.Kept, r.account.Disks = findings{}, 0, 0
	if err := undo(); err != nil {
		t.Fatal(err)
	}
}

// aReplica is where the first file that is left has one of its replicas on a disk.
func aReplica(r *replay) (string, error) {
	known, err := r.extents(context.Background())
	if err != nil {
		return "", err
	}
	p := r.kept()[0]
	return extentPath(filepath.Join(r.d.dir, known[p.extent].Replicas[0].Node), p.extent), nil
}

// extentPath is where a node with this data folder keeps an extent.
func extentPath(dir string, id uint64) string {
	return filepath.Join(dir, "store", "extents", fmt.Sprintf("%02x", byte(id)), fmt.Sprintf("%d.ext", id))
}

func flipByte(r *replay) (undo func() error, err error) {
	return change(r, func(path string, data []byte) error {
		data[bytes.Index(data, []byte("folder"))] ^= 1
		return overwrite(path, data)
	})
}

func loseBytes(r *replay) (undo func() error, err error) {
	return change(r, func(path string, data []byte) error { return os.Truncate(path, int64(len(data)/2)) })
}

// change changes a replica's file in place.
func change(r *replay, how func(path string, data []byte) error) (undo func() error, err error) {
	path, err := aReplica(r)
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
func swapLocators(r *replay) (undo func() error, err error) {
	files := r.kept()[0].files
	swap := func() error {
		files[0].locator, files[1].locator = files[1].locator, files[0].locator
		return nil
	}
	return swap, swap()
}

// forgetDelete has the books say that one more extent was deleted than was.
func forgetDelete(r *replay) (undo func() error, err error) {
	p := r.kept()[0]
	p.deleted = true
	return func() error { p.deleted = false; return nil }, nil
}

// bringBack is what a repair that does not know of a delete does.
func bringBack(r *replay) (undo func() error, err error) {
	from, err := aReplica(r)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	to := extentPath(filepath.Join(r.d.dir, demoLost), r.deleted()[0].extent)
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
	notes := &watcher{want: "at once: ", then: interrupt}
	code := runContext(ctx, []string{"demo", "--source", demoTree(t)}, strings.NewReader(""), &bytes.Buffer{}, notes, noEnv)
	if code != exitInterrupted {
		t.Errorf("exit code %d, want %d: %s", code, exitInterrupted, notes)
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
		{wire.Extent{State: "sealed", Want: 1, Live: 1, Replicas: []wire.Replica{up(demoLeaving)}}, "on n3"},
		{wire.Extent{}, `is ""`},
	} {
		if got := lacking(c.extent); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v lacks %q, want %q", c.extent, got, c.want)
		}
	}
}
