package extent

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/datanode/datanode/node/internal/vfs"
)

// errSyncFailed marks an error after which nothing is known of what was written: the disk is not
// written to any more. Everything but a full disk is treated so, and a full disk too if it shows
// only at the sync, when the kernel has dropped the bytes already.
var errSyncFailed = errors.New("the disk is not to be trusted")

func isDistrusted(err error) bool { return errors.Is(err, errSyncFailed) }

func distrust(err error) error { return fmt.Errorf("%w: %w", errSyncFailed, err) }

func syncFile(f vfs.File) error {
	if err := f.Sync(); err != nil {
		return distrust(err)
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	if err := fs.SyncDir(dir); err != nil {
		return distrust(err)
	}
	return nil
}

// undoWrite answers a failed write at pos, the end of the file: if the disk is full it cuts what was
// written and returns err. The cut is synced, or remains of this write could turn up after a crash
// behind what is written here next.
func undoWrite(f vfs.File, pos int64, err error) error {
	if !vfs.IsNoSpace(err) {
		return distrust(err)
	}
	if cutErr := f.Truncate(pos); cutErr != nil {
		return distrust(errors.Join(err, cutErr))
	}
	if cutErr := f.Sync(); cutErr != nil {
		return distrust(errors.Join(err, cutErr))
	}
	return err
}

func openOrCreate(fsys vfs.FS, name string) (vfs.File, error) {
	f, err := fsys.OpenRW(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fsys.Create(name)
	}
	return f, err
}

func removeIfThere(fsys vfs.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// createWith makes a small file and syncs it, but not its name. If it fails there is no file.
func createWith(fsys vfs.FS, name string, data []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = syncFile(f)
	} else if !vfs.IsNoSpace(err) {
		err = distrust(err)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		return nil
	}
	if gone := removeIfThere(fsys, name); gone != nil {
		err = distrust(errors.Join(err, gone))
	}
	return err
}

// roomTries bounds how often room is asked for before a write is given up.
const roomTries = 32

// within makes a small write that must fit also on a full disk, and makes it again while there is none and room can
// be made. A write that fails for want of space has left nothing.
func within(room func() bool, write func() error) error {
	err := write()
	for tries := 0; err != nil && vfs.IsNoSpace(err) && !errors.Is(err, errSyncFailed) &&
		tries < roomTries && room(); tries++ {
		err = write()
	}
	return err
}
