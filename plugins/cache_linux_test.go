package plugins

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A module that was compiled and cannot be kept, for want of room on the disk, is not refused: a node would never try
// it again. With room it is usable.
func TestCacheWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); errors.Is(err, syscall.EPERM) && os.Getenv("CI") == "" {
		t.Skip("only root mounts a disk of 64 KiB")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling a disk of 64 KiB: %v", err)
	}
	for name, h := range map[string]*Host{
		"child":      newParent(t, Options{CacheDir: filepath.Join(dir, "child")}),
		"in process": newHost(t, Options{CacheDir: filepath.Join(dir, "here")}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Compile(t.Context(), tiny(nil))
			if refused := (*LoadError)(nil); err == nil || errors.As(err, &refused) {
				t.Fatalf("on a full disk: %v, want an error that is no refusal", err)
			}
			t.Log(err)
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			compile(t, h, tiny(nil))
			if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("filling it again: %v", err)
			}
		})
	}
}
