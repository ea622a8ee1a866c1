package health

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// issue writes the certificate of node n1, good until then, of an authority of its own.
func issue(t *testing.T, now, until time.Time) pki.Files {
	t.Helper()
	ca, own, err := pki.NewAuthority("cell", now)
	if err != nil {
		t.Fatal(err)
	}
	r := pki.Request{Role: pki.RoleNode, Name: "n1", Hosts: []string{"127.0.0.1"}, From: now, Expiry: until}
	pair, err := ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := pki.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")}
	for name, text := range map[string][]byte{f.Cert: pair.Cert, f.Key: pair.Key, f.CA: own.Cert} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// Days that a node's certificate has left are one of its checks: it warns below 30, it is an error below 3, and neither
// makes the node unready.
func TestCertExpires(t *testing.T) {
	for days, want := range map[int]string{40: OK, 30: OK, 29: Warn, 3: Warn, 2: Error, 0: Error} {
		now := time.Now()
		files := issue(t, now, now.Add(time.Duration(days)*24*time.Hour+time.Hour))
		source, err := pki.Open(files)
		if err != nil {
			t.Fatal(err)
		}
		got := certExpires(source, now)
		if got.Name != "CERT_EXPIRES" || got.Level != want || got.OK != (want == OK) || !got.Advisory {
			t.Errorf("%d days left: %+v, want %s", days, got, want)
		}
		if want != OK && !strings.Contains(got.Detail, "cert node n1 --renew") {
			t.Errorf("%d days left: %q does not say what to do", days, got.Detail)
		}
	}
	now := time.Now()
	later := now.Add(30 * 24 * time.Hour)
	clock := now
	source, err := pki.OpenAt(issue(t, now, now.Add(time.Hour)), func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	clock = later
	if got := certExpires(source, later); got.Level != Error || !strings.Contains(got.Detail, "has ended") {
		t.Errorf("ended: %+v", got)
	}
}

// Only a check that is not advisory makes a node unready, and the level follows from the rest where it is not said.
func TestReady(t *testing.T) {
	bad := errors.New("bad")
	advisory := Of("room", bad)
	advisory.Advisory = true
	for _, c := range []struct {
		check Check
		ready bool
		level string
	}{
		{Of("log", nil), true, OK}, {Of("log", bad), false, Error}, {advisory, true, Warn},
		{warning("CERT_FILES", "of %d", 1), true, Warn}, {Check{OK: true, Level: Error}, true, Error},
	} {
		checks := Levels([]Check{Of("leader", nil), c.check})
		if got := Ready(checks); got != c.ready || checks[1].Level != c.level || checks[0].Level != OK {
			t.Errorf("%+v: ready %t, want %t and level %s", checks[1], got, c.ready, c.level)
		}
	}
}

// A disk that was given up is a warning, with since when and what to do; one that somebody drains is named and no
// warning.
func TestDisksThatAreNotOK(t *testing.T) {
	since := func(d wire.NodeDisk) state.Micros {
		if d.Disk == "d1" {
			return 1_800_000_000_000_000
		}
		return 0
	}
	for _, c := range []struct {
		disks []wire.NodeDisk
		ok    bool
		want  []string
	}{
		{nil, true, nil},
		{[]wire.NodeDisk{{Node: "n2", Disk: "d1", State: wire.DiskDraining}}, true,
			[]string{"d1 is draining since 2027-01-15", "datanode disk ls --node n2"}},
		{[]wire.NodeDisk{{Node: "n2", Disk: "d2", State: wire.DiskDrained}}, true, []string{"disk replace n2 d2"}},
		{[]wire.NodeDisk{{Node: "n2", Disk: "d1", State: wire.DiskDraining},
			{Node: "n2", Disk: "d3", State: wire.DiskFailed, Why: "sync failed"}}, false,
			[]string{"d1 is draining", "d3 is failed: sync failed", "disk replace n2 d3"}},
		{[]wire.NodeDisk{{Node: "n2", Disk: "d1", State: wire.DiskMissing, Why: "mount it"}}, false,
			[]string{"d1 is missing since 2027", "mount it", "bring it back"}},
	} {
		got := Disks(c.disks, since)
		if got.OK != c.ok || !got.Advisory || (got.Detail == "") != (c.want == nil) {
			t.Errorf("%+v: %+v", c.disks, got)
		}
		for _, want := range c.want {
			if !strings.Contains(got.Detail, want) {
				t.Errorf("%q does not have %q", got.Detail, want)
			}
		}
	}
}
