package plugins

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/policies"
)

// filesUnder are the paths of all files of a folder.
func filesUnder(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCacheIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	compile(t, newHost(t, Options{CacheDir: dir}), Default())
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %v, want nothing for others", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(filesUnder(t, dir)); n != 2 {
		t.Errorf("%d files, want the seal and the code: %v", n, filesUnder(t, dir))
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Options{CacheDir: dir}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a cache that all can write to: %v", err)
	}
}

// Whichever byte of the cache is damaged, it is compiled again, and nothing of what was there runs.
func TestDamagedCache(t *testing.T) {
	dir := t.TempDir()
	h := newHost(t, Options{CacheDir: dir})
	whole, err := h.Check(t.Context(), Default())
	if err != nil || whole.FromCache {
		t.Fatalf("%+v, %v", whole, err)
	}
	damage := map[string]func([]byte) []byte{
		"cut":    func(b []byte) []byte { return b[:len(b)/2] },
		"empty":  func([]byte) []byte { return nil },
		"longer": func(b []byte) []byte { return append(b, 0) },
	}
	for _, at := range []float64{0, 0.001, 0.005, 0.01, 0.1, 0.3, 0.5, 0.9, 0.9999} {
		damage["flipped at "+time.Duration(at*float64(time.Second)).String()] = func(b []byte) []byte {
			b[int(at*float64(len(b)))] ^= 1
			return b
		}
	}
	for _, path := range filesUnder(t, dir) {
		for what, change := range damage {
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(before), 0o600); err != nil {
				t.Fatal(err)
			}
			again, err := h.Check(t.Context(), Default())
			// A flipped bit within the report of the seal may leave it readable, and the code whole.
			if seal := filepath.Base(path) == sealFile; err != nil || again.FromCache && !seal {
				t.Errorf("%s %s: from the cache %v, %v", filepath.Base(path), what, again.FromCache, err)
			}
			if healed, err := h.Check(t.Context(), Default()); err != nil || !healed.FromCache {
				t.Errorf("%s %s, after that: from the cache %v, %v", filepath.Base(path), what, healed.FromCache, err)
			}
		}
	}
}

// A verdict holds for the limits and the configuration under which it was found.
func TestCacheKey(t *testing.T) {
	dir := t.TempDir()
	check := func(o Options, config map[string]string) bool {
		o.CacheDir = dir
		m, report, err := newHost(t, o).pass(t.Context(), tiny(nil), config)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
		return report.FromCache
	}
	for _, c := range []struct {
		what   string
		o      Options
		config map[string]string
	}{
		{"nothing", Options{}, nil},
		{"less memory", Options{MemoryPages: 16}, nil},
		{"a smaller budget", Options{Budget: policies.Budget{Batch: 1 << 20}}, nil},
		{"a configuration", Options{}, map[string]string{"a": "b"}},
	} {
		if check(c.o, c.config) {
			t.Errorf("%s: already in the cache", c.what)
		}
		if !check(c.o, c.config) {
			t.Errorf("%s: not in the cache the second time", c.what)
		}
	}
}

func TestCacheIsPruned(t *testing.T) {
	c, err := openCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	entry := func(name string, age time.Duration) string {
		dir := filepath.Join(c.dir, name)
		seal := filepath.Join(dir, sealFile)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(seal, nil, 0o600),
			os.Chtimes(seal, now.Add(-age), now.Add(-age)), os.Chtimes(dir, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for n := range maxCached {
		entry(strings.Repeat("a", n+1), time.Duration(n)*time.Minute)
	}
	oldest, fresh := entry("oldest", 1000*time.Hour), entry(newPrefix+"1", time.Minute)
	left := entry(newPrefix+"2", 2*time.Hour)
	c.prune(now)
	for dir, want := range map[string]bool{oldest: false, left: false, fresh: true, filepath.Join(c.dir, "a"): true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
	if entries, err := os.ReadDir(c.dir); err != nil || len(entries) != maxCached+1 {
		t.Errorf("%d entries, %v, want %d", len(entries), err, maxCached+1)
	}
}

// Without a folder of its own, a host with a child leaves nothing behind.
func TestTemporaryCache(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h, err := New(t.Context(), Options{Child: []string{"/nowhere"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.cache.dir); err != nil {
		t.Error(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(os.TempDir()); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
