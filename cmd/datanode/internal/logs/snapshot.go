package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Snapshots are those of a log, oldest first, the damaged ones too, and whose log it is.
func Snapshots(ctx context.Context, s Source) (name string, all []wire.LogSnapshot, err error) {
	switch s := s.(type) {
	case Node:
		reply, err := s.Client.LogSnapshots(ctx, s.ID, false)
		return reply.Node, reply.Snapshots, err
	case *Folder:
		aside, err := s.SetAside()
		for _, one := range append(aside, s.Snapshots...) {
			all = append(all, describe.Snapshot(one))
		}
		return s.Name, all, err
	}
	return "", nil, fmt.Errorf("a log of type %T", s)
}

// snapshotID is how the IDs of snapshots look.
var snapshotID = regexp.MustCompile(`^\d+-\d+-\d+$`)

// IsSnapshotID tells the ID of a snapshot from the name of a file.
func IsSnapshotID(word string) bool { return snapshotID.MatchString(word) }

// CopySnapshot writes a snapshot of a log to a file as it is, and answers which it was; an empty ID is the newest sound
// one.
func CopySnapshot(ctx context.Context, s Source, id string, to io.Writer) (was string, err error) {
	if id != "" && !IsSnapshotID(id) {
		return "", exit.Usagef("%q is not the ID of a snapshot, such as 2-8192-1796052001234; see log snapshot ls", id)
	}
	if n, ok := s.(Node); ok {
		_, was, err := n.Client.LogSnapshot(ctx, n.ID, id, to)
		return was, err
	}
	f, ok := s.(*Folder)
	if !ok {
		return "", fmt.Errorf("a log of type %T", s)
	}
	if id == "" {
		if id = f.newestSnapshot(); id == "" {
			return "", exit.With(exit.NotFound, "%s has no snapshot that is sound", f.Name)
		}
	}
	from, err := f.OpenSnapshot(id)
	if errors.Is(err, fs.ErrNotExist) {
		return "", exit.With(exit.NotFound, "%s has no snapshot %s; see log snapshot ls", f.Name, id)
	}
	if err != nil {
		return "", err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return id, err
}

func (f *Folder) newestSnapshot() string {
	for i := len(f.Snapshots) - 1; i >= 0; i-- {
		if f.Snapshots[i].Err == nil {
			return f.Snapshots[i].ID
		}
	}
	return ""
}

// Snapshot is a snapshot that was read and found sound.
type Snapshot struct {
	Past
	Name string // as it is called: an ID, or a file
	raftlog.SnapshotFile
}

// ReadSnapshot reads a snapshot of a log; an empty ID is the newest sound one.
func ReadSnapshot(ctx context.Context, s Source, id string) (*Snapshot, error) {
	f, err := os.CreateTemp("", "datanode-snapshot-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = f.Close() // it is read, and thrown away
		_ = os.Remove(f.Name())
	}()
	was, err := CopySnapshot(ctx, s, id, f)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return readSnapshot(f, was)
}

// OpenSnapshot reads a snapshot in a file. Where it is damaged, the answer has its name and size.
func OpenSnapshot(path string) (*Snapshot, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, exit.With(exit.Failed, "%s is no regular file: name one that log snapshot save has written", path)
	}
	if err != nil {
		return nil, exit.File(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, exit.File(err)
	}
	defer f.Close()
	out, err := readSnapshot(f, path)
	if out != nil && err != nil {
		out.Bytes, out.SHA256 = info.Size(), "" // it was read up to where it is damaged
	}
	return out, err
}

func readSnapshot(f io.ReadSeeker, name string) (*Snapshot, error) {
	read, err := raftlog.ReadSnapshot(f)
	out := &Snapshot{Name: name, SnapshotFile: read}
	damaged, unknown := (*raftlog.CorruptError)(nil), (*raftlog.UnknownError)(nil)
	switch {
	case errors.As(err, &damaged):
		return out, exit.With(exit.Corrupt, "snapshot %s is damaged: %s", name, damaged.Detail)
	case errors.As(err, &unknown):
		return out, exit.With(exit.Refused, "snapshot %s has what this program does not know (%s); use a newer one", name,
			unknown.What)
	case err != nil:
		return out, err
	}
	out.Past = Past{read.View, schedule.LookAt(read.View, schedule.Moment{Cell: read.View.NowMicros})}
	return out, nil
}

// SaveSnapshot writes a snapshot of a log to a new file, synced and read again. It never replaces a file, and leaves
// none that is not whole.
func SaveSnapshot(ctx context.Context, s Source, id, path string) (saved *Snapshot, err error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, alreadyThere(path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, exit.File(err)
	}
	defer func() {
		_ = f.Close()           // what is kept was synced
		_ = os.Remove(f.Name()) // its other name stays
	}()
	was, err := CopySnapshot(ctx, s, id, f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	if saved, err = readSnapshot(f, was); err != nil {
		return nil, err
	}
	return saved, keepAs(f.Name(), path)
}

// keepAs gives a file a name that no other has. Where a file system has no links, a file of that name which comes into
// being at this very moment is lost.
func keepAs(from, path string) error {
	err := os.Link(from, path)
	if errors.Is(err, fs.ErrExist) {
		return alreadyThere(path)
	}
	if err != nil {
		if err = os.Rename(from, path); err != nil {
			return err
		}
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func alreadyThere(path string) error {
	return exit.With(exit.Refused, "%s is there already, and is not replaced; name another file", path)
}

// DiffSnapshots are the differences of the states in two snapshots, in the words of Folder.Between. The error is of
// exit.Refused for those of two cells, and of exit.Corrupt after the differences of those with two histories.
func DiffSnapshots(a, b *Snapshot) ([]Changed, error) {
	switch {
	case a.View.Cell != b.View.Cell:
		return nil, exit.With(exit.Refused, "%s is of cell %s, and %s of cell %s: they have nothing to do with each other",
			a.Name, a.View.Cell, b.Name, b.View.Cell)
	case a.Applied.Index > b.Applied.Index:
		return nil, exit.Usagef("%s is of entry %d, and %s of entry %d; name the earlier one first", a.Name,
			a.Applied.Index, b.Name, b.Applied.Index)
	}
	changed := difference(a.View, b.View)
	if same, known := b.Follows(&a.SnapshotFile); known && !same {
		return changed, exit.With(exit.Corrupt, "at entry %d, %s and %s have different histories: the chains differ; "+
			"compare the nodes they are from with log diff", a.Applied.Index, a.Name, b.Name)
	}
	return changed, nil
}

// Contents is what a snapshot holds, in one screen.
type Contents struct {
	Name     string            `json:"snapshot"`
	OK       bool              `json:"ok"`
	Detail   string            `json:"detail,omitempty"` // what is wrong with it
	Bytes    int64             `json:"bytes"`
	SHA256   string            `json:"sha256,omitempty"` // of all bytes
	Records  uint64            `json:"records,omitempty"`
	Level    uint8             `json:"level,omitempty"`
	Cell     string            `json:"cell,omitempty"`
	Index    uint64            `json:"index,omitempty"`
	Term     uint64            `json:"term,omitempty"`
	Applied  uint64            `json:"applied,omitempty"`
	Chain    string            `json:"chain,omitempty"` // hex, at Applied
	Micros   int64             `json:"time_micros,omitempty"`
	Era      uint64            `json:"era,omitempty"`
	Voters   []string          `json:"voters,omitempty"`
	Others   []string          `json:"without_vote,omitempty"`
	Nodes    map[string]int    `json:"nodes,omitempty"`   // by state
	Extents  map[string]int    `json:"extents,omitempty"` // by state
	Replicas int               `json:"replicas,omitempty"`
	Drops    int               `json:"files_to_drop,omitempty"`
	Ops      map[string]int    `json:"operations,omitempty"` // by state
	Sessions int               `json:"sessions,omitempty"`
	Policies []string          `json:"policies,omitempty"`
	Active   string            `json:"active_policy,omitempty"` // empty: the native default
	Settings map[string]string `json:"settings,omitempty"`      // those that are not what a new cell has
}

// Contents are the counts and names of what is in the snapshot.
func (s *Snapshot) Contents() Contents {
	out := Contents{Name: s.Name, Bytes: s.Bytes, SHA256: s.SHA256}
	v := s.View
	if v == nil {
		return out
	}
	out.OK, out.Records, out.Level, out.Cell = true, s.Records, uint8(s.Level), v.Cell
	out.Index, out.Term, out.Voters, out.Others = uint64(s.SnapshotFile.Index), s.Term, s.Voters, s.Others
	out.Applied, out.Chain = uint64(s.Applied.Index), fmt.Sprintf("%x", s.Applied.Hash)
	out.Micros, out.Era, out.Active = int64(v.NowMicros), uint64(v.Era), v.Active
	counts := v.Counts()
	out.Replicas, out.Drops = counts.Replicas, counts.Drops
	out.Nodes, out.Extents, out.Ops = map[string]int{}, map[string]int{}, map[string]int{}
	v.Nodes(func(n *state.Node) bool { out.Nodes[n.State.String()]++; return true })
	v.Extents(0, func(e *state.Extent) bool { out.Extents[e.State.String()]++; return true })
	v.Ops(0, func(o *state.Op) bool { out.Ops[o.State.String()]++; return true })
	v.Sessions(func(*state.Session) bool { out.Sessions++; return true })
	v.Policies(func(p *state.LoadPolicy) bool {
		out.Policies = append(out.Policies, p.Name+" "+p.Version+" "+p.Digest)
		return true
	})
	usual := map[string]string{}
	state.DefaultSettings().Each(func(key, value, _ string) { usual[key] = value })
	out.Settings = map[string]string{}
	v.Settings.Each(func(key, value, _ string) {
		if value != usual[key] {
			out.Settings[key] = value
		}
	})
	return out
}
