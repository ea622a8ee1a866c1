package raftlog

import (
	"encoding/json"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// The files of a snapshot, as the engine's store has them in a folder of the snapshot's name.
const (
	metaFile  = "meta.json"
	stateFile = "state.bin"
	// maxMetaBytes bounds the first; the largest configuration has some hundred members.
	maxMetaBytes = 1 << 20
)

// snapshotMeta is the content of metaFile.
type snapshotMeta struct {
	raft.SnapshotMeta
	CRC []byte // of stateFile
}

// snapshotName is TERM-INDEX-TIME.
func snapshotName(id string) (term, index uint64, ok bool) {
	var millis int64
	_, err := fmt.Sscanf(id, "%d-%d-%d", &term, &index, &millis)
	return term, index, err == nil
}

// checkOne reads a snapshot from the disk. Where the snapshot is whole and only what the engine has noted of it is
// damaged, that is written anew. In what it answers, covers is always known.
func (s *snapshots) checkOne(id string) (snapshotHead, error) {
	head, state, err := scanStateFile(filepath.Join(s.dir, id, stateFile))
	if err != nil {
		return head, err
	}
	state.ID, state.Version = id, raft.SnapshotVersionMax
	noted, err := readSnapshotMeta(filepath.Join(s.dir, id, metaFile))
	if err == nil {
		err = state.compare(noted, head.covers)
	}
	switch {
	case err == nil:
		head.covers = coversOf(&noted.SnapshotMeta)
		return head, nil
	case !isDamage(err) || !head.covers.known():
		return head, err
	}
	s.logger.Warn("what was noted of a snapshot is damaged, and is written anew from the snapshot",
		"file", filepath.Join(s.dir, id, metaFile), "error", err)
	c := head.covers
	state.Index, state.Term, state.ConfigurationIndex = c.Index, c.Term, c.ConfIndex
	state.Configuration = raft.DecodeConfiguration(c.Configuration)
	return head, state.write(filepath.Join(s.dir, id))
}

// scanStateFile is what a stateFile holds, and what must have been noted of it.
func scanStateFile(path string) (snapshotHead, snapshotMeta, error) {
	var meta snapshotMeta
	f, err := os.Open(path)
	if err != nil {
		return snapshotHead{}, meta, err
	}
	defer f.Close()
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	counted := &countingReader{from: io.TeeReader(f, sum)}
	head, err := scanSnapshot(counted)
	if counted.err != nil {
		err = counted.err // scanSnapshot says only that the snapshot ends early
	}
	meta.Size, meta.CRC = counted.n, sum.Sum(nil)
	return head, meta, err
}

type countingReader struct {
	from io.Reader
	n    int64
	err  error // the last one, except the end
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	r.n += int64(n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func readSnapshotMeta(path string) (m snapshotMeta, err error) {
	f, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMetaBytes))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, corrupt("%s: %s", metaFile, err.Error())
	}
	return m, nil
}

// compare compares what was noted with what the files say. The name of the folder is a second witness of what the
// snapshots of older builds do not carry.
func (m *snapshotMeta) compare(noted snapshotMeta, carried covers) error {
	term, index, ok := snapshotName(m.ID)
	what := carried.differs(coversOf(&noted.SnapshotMeta))
	switch {
	case what != "":
		return corrupt("%s", what)
	case noted.ID != m.ID || noted.Version != m.Version || ok && (noted.Index != index || noted.Term != term):
		return corrupt("%s is of snapshot %q of entry %d, term %d, version %d",
			metaFile, noted.ID, noted.Index, noted.Term, noted.Version)
	case noted.Size != m.Size || string(noted.CRC) != string(m.CRC):
		return corrupt("%s has %d bytes with checksum %x, and is noted to have %d with %x",
			stateFile, m.Size, m.CRC, noted.Size, noted.CRC)
	}
	return nil
}

// write puts m in place of the metaFile in dir.
func (m *snapshotMeta) write(dir string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, metaFile)
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	if _, err = f.Write(append(b, '\n')); err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}
