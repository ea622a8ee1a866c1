package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/plugins/meter"
)

// The cache of compiled modules on disk.
//
//	DIR/host2-meter1-wazero-v1.12.0-linux-amd64/   one version of everything that the contents depend on
//	    KEY/                                       a module, its configuration and the limits it was tried under
//	        seal.json                              the gate's report, and the SHA-256 of each file of code
//	        code/…                                 written and read by the engine
//	    new-*                                      not sealed yet
//
// The engine checks its files by a CRC of the machine code, and not at all where in it functions begin
// or how many there are: one flipped bit there jumps anywhere, or allocates gigabytes. So nothing is
// handed to the engine whose SHA-256 is not the sealed one; what is not, is dropped and compiled
// again. The seal is a guard against damage. Against someone who writes here there is none, which is
// why the folder must be this user's alone.
//
// Several processes may share a folder: entries are written elsewhere and moved into place whole.
type diskCache struct {
	root      string // absolute
	dir       string // of this version
	temporary string // to be removed in the end, or empty
}

// hostVersion is increased whenever the gate comes to judge differently, or the host to link or charge
// differently: what was compiled and tried before is then compiled and tried anew.
const hostVersion = 3

// maxCached is how many entries are kept; the least recently used go first.
const maxCached = 128

const (
	sealFile    = "seal.json"
	codeDir     = "code"
	newPrefix   = "new-"
	maxSealSize = 1 << 20
	// unsealedMost is after how long what was not sealed is taken for left behind.
	unsealedMost = time.Hour
	// maxMachineBytes of code are read back of one module. 8 MiB of it take some 40.
	maxMachineBytes = 256 << 20
)

// seal is the contents of seal.json.
type seal struct {
	Report *Report           `json:"report"`
	Files  map[string]string `json:"files"` // SHA-256 in hex, by path under code
}

func versionName() string {
	engine := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/tetratelabs/wazero" {
				engine = dep.Version
			}
		}
	}
	return fmt.Sprintf("host%d-meter%d-wazero-%s-%s-%s", hostVersion, meter.Version, engine, runtime.GOOS, runtime.GOARCH)
}

func openCache(dir string) (*diskCache, error) {
	dir, err := filepath.Abs(dir) // the child need not run in the same folder
	if err != nil {
		return nil, err
	}
	c := &diskCache{root: dir, dir: filepath.Join(dir, versionName())}
	for _, d := range []string{dir, c.dir} {
		if err := makePrivate(d); err != nil {
			return nil, err
		}
	}
	c.prune(time.Now())
	return c, nil
}

func openTemporaryCache() (*diskCache, error) {
	dir, err := os.MkdirTemp("", "datanode-policies-")
	if err != nil {
		return nil, err
	}
	c, err := openCache(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c.temporary = dir
	return c, nil
}

func (c *diskCache) close() error {
	if c.temporary == "" {
		return nil
	}
	return os.RemoveAll(c.temporary)
}

// makePrivate makes a folder that only this user can write to, or checks that it is one.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is %v; it must be a folder that nobody else can write to: chmod 700", dir, info.Mode())
	}
	return nil
}

// prune removes the entries that were used longest ago, and what was left unsealed. What cannot be
// removed is left for the next time.
func (c *diskCache) prune(now time.Time) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	type dated struct {
		path string
		used time.Time
	}
	var kept []dated
	for _, e := range entries {
		path := filepath.Join(c.dir, e.Name())
		info, err := os.Stat(filepath.Join(path, sealFile))
		if err != nil {
			info, err = e.Info()
		}
		switch {
		case err != nil:
		case strings.HasPrefix(e.Name(), newPrefix) && now.Sub(info.ModTime()) > unsealedMost:
			_ = os.RemoveAll(path)
		case !strings.HasPrefix(e.Name(), newPrefix):
			kept = append(kept, dated{path, info.ModTime()})
		}
	}
	slices.SortFunc(kept, func(a, b dated) int { return b.used.Compare(a.used) })
	for _, old := range kept[min(len(kept), maxCached):] {
		_ = os.RemoveAll(old.path)
	}
}

// cacheEntry is the place of one module, tried with one configuration under one set of limits.
type cacheEntry struct {
	cache *diskCache
	dir   string
}

func (c *diskCache) entry(o Options, digest string, config map[string]string) *cacheEntry {
	key, err := json.Marshal([]any{digest, o.MemoryPages, o.Budget, config}) // the keys of maps are sorted
	if err != nil {
		panic("plugins: key of the cache: " + err.Error()) // strings and numbers
	}
	sum := sha256.Sum256(key)
	return &cacheEntry{cache: c, dir: filepath.Join(c.dir, hex.EncodeToString(sum[:]))}
}

func (e *cacheEntry) code() string { return filepath.Join(e.dir, codeDir) }

// open checks the entry and gives its report, or nil if there is none that can be used.
func (e *cacheEntry) open() *Report {
	s, err := e.read()
	if err != nil {
		_ = os.RemoveAll(e.dir) // damaged, or never there
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Join(e.dir, sealFile), now, now) // for prune, as a hint
	return s.Report
}

func (e *cacheEntry) read() (*seal, error) {
	text, err := readBounded(filepath.Join(e.dir, sealFile), maxSealSize)
	if err != nil {
		return nil, err
	}
	s := &seal{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if s.Report == nil || len(s.Files) == 0 {
		return nil, errors.New("a seal of nothing")
	}
	have, _, err := sums(e.code())
	if err != nil {
		return nil, err
	}
	if len(have) != len(s.Files) {
		return nil, fmt.Errorf("%d files, sealed were %d", len(have), len(s.Files))
	}
	for name, want := range s.Files {
		if have[name] != want {
			return nil, fmt.Errorf("%s is not what was sealed", name)
		}
	}
	return s, nil
}

// prepare makes a folder to compile into, which seal moves into place and abandon removes.
func (e *cacheEntry) prepare() (dir string, err error) {
	if dir, err = os.MkdirTemp(e.cache.dir, newPrefix+"*"); err != nil {
		return "", err
	}
	return filepath.Join(dir, codeDir), nil
}

func (e *cacheEntry) abandon(code string) { _ = os.RemoveAll(filepath.Dir(code)) }

// seal moves what was compiled into place. If another process was faster, its work stays.
func (e *cacheEntry) seal(code string, report *Report) error {
	files, bytes, err := sums(code)
	if err != nil {
		return err
	}
	report.MachineBytes = bytes
	text, err := json.Marshal(seal{Report: report, Files: files})
	if err != nil {
		return err
	}
	dir := filepath.Dir(code)
	if err := os.WriteFile(filepath.Join(dir, sealFile), text, 0o600); err != nil {
		return err
	}
	err = os.Rename(dir, e.dir)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// sums are the SHA-256 of all files under dir, by path, and their sizes together.
func sums(dir string) (files map[string]string, bytes int64, err error) {
	files = map[string]string{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := readBounded(path, maxMachineBytes)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		sum := sha256.Sum256(text)
		files[filepath.ToSlash(name)] = hex.EncodeToString(sum[:])
		bytes += int64(len(text))
		return err
	})
	return files, bytes, err
}

// readBounded reads a file that must not be larger than most.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return text, err
}
