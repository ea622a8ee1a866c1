package term

import (
	"context"
	"io"
	"os"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/wire"
)

// Open opens a file, or stdin for a dash. size is 0 when it is not known.
func (t *Terminal) Open(ctx context.Context, name string) (in io.ReadCloser, size int64, err error) {
	if name == "-" {
		return io.NopCloser(t.Input(ctx)), 0, nil
	}
	info, err := os.Stat(name)
	switch {
	case err != nil: // Open says why
	case info.IsDir():
		return nil, 0, exit.With(exit.Failed, "%s is a folder; name the files in it", name)
	case !info.Mode().IsRegular():
		return io.NopCloser(newPipeReader(ctx, &lateFile{name: name})), 0, nil
	default:
		size = info.Size()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, exit.File(err)
	}
	return f, size, nil
}

// ReadWhole reads a file of at most limit bytes.
func (t *Terminal) ReadWhole(ctx context.Context, name string, limit int64) ([]byte, error) {
	in, _, err := t.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = wire.Errorf(0, wire.CodeInvalid, "%s is larger than %d bytes", name, limit)
	}
	return data, err
}

// NewFileMode is the mode of the file that is replaced, or that of a plain new one. CreateTemp's own
// would keep everyone else from what they could read before.
func NewFileMode(name string) os.FileMode {
	const plain = 0o644
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		return info.Mode().Perm()
	}
	return plain
}
