package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/pki"
)

// certFolder makes an authority and certificates with the cert commands.
func certFolder(t *testing.T, lines ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "certs")
	for _, line := range append([]string{"init"}, lines...) {
		var stderr bytes.Buffer
		args := append([]string{"cert"}, append(strings.Fields(line), "--dir", dir)...)
		if code := runContext(t.Context(), args, strings.NewReader(""), &bytes.Buffer{}, &stderr,
			func(string) string { return "" }); code != 0 {
			t.Fatalf("cert %s: exit %d: %s", line, code, stderr.String())
		}
	}
	return dir
}

// A renewed certificate is for the same hosts, unless others are given.
func TestRenewKeepsHosts(t *testing.T) {
	for want, lines := range map[string][]string{
		"a.example.org,10.0.0.1":  {"node n1 --host a.example.org --host 10.0.0.1", "node n1 --renew"},
		"b.example.org":           {"node n1 --host a.example.org", "node n1 --renew --host b.example.org"},
		"localhost,127.0.0.1,::1": {"node n1 --renew"},
	} {
		text, err := os.ReadFile(filepath.Join(certFolder(t, lines...), "node-n1.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pki.HostsOf(text); err != nil || strings.Join(got, ",") != want {
			t.Errorf("after %q: hosts %q, %v, want %s", lines, got, err, want)
		}
	}
}

// full takes nothing, as a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Both files are there when something goes wrong afterwards; what was cut off in between is reported as that.
func TestCertsAreWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	cert := func(stdout io.Writer, args ...string) (int, string) {
		var stderr bytes.Buffer
		code := runContext(t.Context(), append(append([]string{"cert"}, args...), "--dir", dir), strings.NewReader(""),
			stdout, &stderr, func(string) string { return "" })
		return code, stderr.String()
	}
	if code, said := cert(full{}, "init"); code != exit.Failed || !strings.Contains(said, syscall.ENOSPC.Error()) {
		t.Errorf("init that cannot print: exit %d: %s", code, said)
	}
	if code, said := cert(io.Discard, "node", "n1"); code != exit.Done {
		t.Errorf("its authority cannot be used: exit %d: %s", code, said)
	}
	_, key := pairFiles(dir, "client-bob")
	clitest.Must(t, os.WriteFile(key, nil, 0o600))
	if code, said := cert(io.Discard, "client", "bob"); code != exit.Refused ||
		!strings.Contains(said, "without its certificate") {
		t.Errorf("over a key that is alone: exit %d: %s", code, said)
	}
}

// tlsEnv is the environment of somebody with a certificate.
func tlsEnv(dir, stem, addr string) func(string) string {
	return func(name string) string {
		return map[string]string{
			cli.EnvAddr: addr, "DATANODE_TLS_CA": filepath.Join(dir, "ca.pem"),
			"DATANODE_TLS_CERT": filepath.Join(dir, stem+".pem"), "DATANODE_TLS_KEY": filepath.Join(dir, stem+"-key.pem"),
		}[name]
	}
}

// Keys, and all else in the folder, are for their owner only.
func TestCertFilesArePrivate(t *testing.T) {
	dir := certFolder(t, "node n1", "client bob", "admin ops", "node n1 --renew")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 10 {
		t.Errorf("%d files, want 4 certificates, their keys, what was issued and what is revoked: %v", len(entries), entries)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s, want 0600: %v", e.Name(), info.Mode(), err)
		}
	}
}

// What the cert commands make is all that a node and those who talk to it need.
func TestServeWithTLS(t *testing.T) {
	dir := certFolder(t, "node n1", "client bob", "admin ops")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	said := &clitest.Watcher{}
	go func() {
		args := []string{"serve", "--id", "n1", "--dir", filepath.Join(t.TempDir(), "n1"), "--listen", addr, "--bootstrap",
			"n1=" + addr, "--log-level", "WARN"}
		done <- runContext(ctx, args, strings.NewReader(""), said, said, tlsEnv(dir, "node-n1", ""))
	}()
	defer func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("serve ended with %d:\n%s", code, said)
		}
	}()
	as := func(env func(string) string, args ...string) (int, string) {
		var out bytes.Buffer
		code := runContext(t.Context(), args, strings.NewReader(""), &out, &out, env)
		return code, out.String()
	}
	ops, bob := tlsEnv(dir, "admin-ops", addr), tlsEnv(dir, "client-bob", addr)
	limit := time.Now().Add(processLimit)
	for { // the cell is being founded
		code, out := as(ops, "settings", "set", "replicas", "1")
		if code == exit.Done {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("exit %d: %s\n%s", code, out, said)
		}
	}
	if code, out := as(bob, "status"); code != exit.Done {
		t.Errorf("status as a client: exit %d: %s", code, out)
	}
	if code, out := as(bob, "settings", "set", "replicas", "1"); code != exit.Refused ||
		!strings.Contains(out, "client bob") {
		t.Errorf("settings set as a client: exit %d, want %d: %s", code, exit.Refused, out)
	}
	plain := func(name string) string { return map[string]string{cli.EnvAddr: addr}[name] }
	if code, out := as(plain, "status"); code != exit.Unavailable {
		t.Errorf("status without a certificate: exit %d, want %d: %s", code, exit.Unavailable, out)
	}
}
