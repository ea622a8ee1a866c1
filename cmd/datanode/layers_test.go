package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/datanode/datanode"

// layers is who may import whom: the table of docs/architecture.md. A package is under the longest
// name here that it starts with; packages under the same name may import each other.
func layers() map[string][]string {
	all := map[string][]string{
		"crc32c":                {},
		"pki":                   {},
		"pki/pkitest":           {"pki"},
		"load":                  {},
		"wire":                  {"crc32c"},
		"wire/mux":              {"crc32c", "wire"},
		"wire/client":           {"crc32c", "wire", "wire/mux", "pki"},
		"wire/wiretest":         {"wire"},
		"wire/rpcbench":         {"wire", "wire/mux", "pki"},
		"policies":              {},
		"policies/policytest":   {"policies"},
		"plugins":               {"policies", "plugins/meter", "plugins/internal/wasm"},
		"plugins/meter":         {"plugins/internal/wasm"},
		"plugins/internal/wasm": {},
		"plugins/guest":         {},
		"raftlog/state":         {"policies", "wire"},
		"raftlog":               {"raftlog/state", "wire"},
		"raftlog/bare":          {},
	}
	maps.Copy(all, nodeLayers())
	maps.Copy(all, commandLayers())
	return all
}

func nodeLayers() map[string][]string {
	return map[string][]string{
		"node/internal/vfs": {},
		"node/extent":       {"crc32c", "node/internal/vfs"},
		"node/clock":        {"wire/mux"},
		"node/folder":       {"node/internal/vfs", "raftlog/state"},
		"node/fair":         {"node/clock", "wire"},
		"node/diskspace":    {"node/clock", "node/internal/vfs", "raftlog/state", "wire"},
		"node/diskshare":    {"node/clock", "policies", "raftlog/state"},
		"node/quota":        {"raftlog/state", "wire"},
		"node/schedule":     {"policies", "raftlog/state", "wire"},
		"node/describe":     {"wire", "policies", "raftlog/state", "raftlog", "node/schedule"},
		"node/audit":        {"policies", "raftlog/state", "node/describe"},
		"node/modules":      {"wire", "policies", "raftlog/state", "node/internal/vfs"},
		"node/failure":      {"node/extent", "raftlog/state", "wire"},
		"node/report":       {"node/clock", "raftlog", "raftlog/state", "wire", "wire/mux"},
		"node/scrub": {"node/clock", "node/extent", "node/internal/vfs", "raftlog", "raftlog/state",
			"wire"},
		"node/reclaim":             {"node/clock", "node/extent", "raftlog/state"},
		"node/transport/summed":    {},
		"node/transport/connlimit": {"wire/mux"},
		"node/transport": {"node/transport/connlimit", "node/transport/summed", "pki", "raftlog", "raftlog/state",
			"wire", "wire/mux"},
		"node/health":   {"pki", "raftlog/state", "wire"},
		"node/diskhang": {"node/clock", "node/replica", "raftlog/state", "wire"},
		"node/member": {"node/clock", "node/diskhang", "node/folder", "node/lead", "raftlog", "raftlog/state",
			"wire", "wire/mux"},
		"node/submitter": {"node/clock", "node/lead", "policies", "raftlog/state", "wire", "wire/client", "wire/mux"},
		"node/web": {"node/describe", "node/diskspace", "node/health", "node/transport", "node/transport/connlimit", "pki",
			"policies", "raftlog/state", "wire", "wire/mux"},
		"node/replica": {"crc32c", "node/clock", "node/diskshare", "node/extent", "node/failure", "node/internal/vfs",
			"node/report", "policies", "raftlog/state", "wire", "wire/mux"},
		"node/disks": {"node/clock", "node/diskshare", "node/diskspace", "node/extent", "node/folder",
			"node/internal/vfs", "node/replica",
			"raftlog/state", "wire"},
		"node/datapath": {"crc32c", "node/clock", "node/describe", "node/diskshare", "node/extent",
			"node/failure", "node/quota",
			"node/replica", "policies", "raftlog/state", "wire", "wire/mux"},
		"node/lead": {"wire", "wire/mux", "policies", "raftlog", "raftlog/state",
			"node/clock", "node/fair", "node/quota", "node/schedule", "node/modules", "node/describe", "node/audit"},
		"node/api": {"wire", "wire/mux", "policies", "raftlog", "raftlog/state", "node/clock", "node/diskspace",
			"node/extent", "node/fair", "node/modules", "node/quota", "node/replica", "node/scrub",
			"node/describe", "node/lead"},
		"node": {"pki", "wire", "wire/mux", "raftlog", "raftlog/state",
			"node/internal/vfs",
			"node/transport", "node/transport/connlimit",
			"node/health", "node/web", "node/diskhang", "node/member", "node/submitter",
			"node/extent",
			"node/clock",
			"node/folder",
			"node/fair",
			"node/diskspace",
			"node/disks",
			"node/diskshare",
			"node/quota",
			"node/schedule",
			"node/audit",
			"node/api",
			"node/modules",
			"node/failure",
			"node/report",
			"node/scrub",
			"node/reclaim",
			"node/replica",
			"node/datapath",
			"node/lead",
		},
	}
}

func commandLayers() map[string][]string {
	const in = "cmd/datanode/internal/"
	return map[string][]string{
		"examples/policies": {"plugins/guest"},
		in + "exit":         {"wire", "wire/client", "plugins", "raftlog"},
		in + "term":         {in + "exit", "wire"},
		in + "logdiff":      {in + "exit", "wire"},
		in + "logs": {in + "exit", "node/describe", "node/folder", "node/schedule", "policies", "raftlog", "raftlog/state",
			"wire", "wire/client"},
		in + "cli":        {in + "exit", in + "term", "pki", "wire", "wire/client"},
		in + "policyhost": {in + "cli", in + "exit", "node/modules", "plugins", "policies", "raftlog/state", "wire"},
		in + "local":      {in + "cli", in + "exit", "node", "node/modules", "plugins", "wire", "wire/client"},
		in + "demo": {in + "cli", in + "exit", in + "local", in + "logdiff", in + "policyhost", in + "term", "policies",
			"wire", "wire/client"},
		in + "author": {in + "cli", in + "exit", in + "policyhost", in + "term", "plugins", "plugins/guest", "policies",
			"policies/policytest", "raftlog/state"},
		in + "clitest": {in + "exit", in + "policyhost", "plugins"},
		"cmd/datanode": {in + "author", in + "cli", in + "demo", in + "exit", in + "local", in + "logdiff",
			in + "logs", in + "policyhost", in + "term", "crc32c", "load", "pki", "wire", "wire/client", "wire/rpcbench",
			"policies",
			"plugins", "raftlog", "raftlog/bare", "raftlog/state", "node", "node/modules"},
	}
}

// fenced are libraries that only some packages may import, since all others should be able to do
// without: the engine of the log, the engine of the policies, the codec.
func fenced() map[string][]string {
	return map[string][]string{
		"github.com/hashicorp/raft":     {"raftlog", "raftlog/bare"},
		"go.etcd.io/bbolt":              {"raftlog", "raftlog/bare"},
		"github.com/tetratelabs/wazero": {"plugins"},
		"github.com/vmihailenco/":       {"wire", "raftlog"},
	}
}

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Imports    []string
}

// TestLayers holds every import outside of tests against the table.
func TestLayers(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imported := range p.Imports {
			if err := checkImport(name, imported); err != nil {
				t.Errorf("%s imports %s: %v", name, imported, err)
			}
		}
	}
}

func checkImport(name, imported string) error {
	from, ok := layerOf(name)
	if !ok {
		return errors.New("the importing package is in no layer; give it a line in layers()")
	}
	for library, layers := range fenced() {
		if strings.HasPrefix(imported, library) && !slices.Contains(layers, from) {
			return errors.New("only " + strings.Join(layers, " and ") + " may")
		}
	}
	inside, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return nil
	}
	to, ok := layerOf(inside)
	if !ok || to != from && !slices.Contains(layers()[from], to) {
		return errors.New("not an arrow of the table; it may import " + strings.Join(layers()[from], ", "))
	}
	return nil
}

// layerOf is the longest name in the table that a package is under.
func layerOf(name string) (layer string, ok bool) {
	for l := range layers() {
		if (name == l || strings.HasPrefix(name, l+"/")) && len(l) > len(layer) {
			layer = l
		}
	}
	return layer, layer != ""
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < len(layers())/2 {
		t.Fatalf("go list found %d packages only", len(all))
	}
	return all
}

// The table must say no, or it says nothing.
func TestLayersRefuse(t *testing.T) {
	for _, bad := range [][2]string{
		{"wire", module + "/policies"},
		{"node/schedule", module + "/node/extent"},
		{"node", module + "/plugins"},
		{"policies/policytest/cases", module + "/plugins"},
		{"wire/mux", "github.com/vmihailenco/msgpack/v5"},
		{"node", "github.com/hashicorp/raft"},
		{"cmd/datanode", "github.com/hashicorp/raft-boltdb/v2"},
		{"policies", "github.com/tetratelabs/wazero/api"},
		{"unheard/of", "fmt"},
	} {
		if checkImport(bad[0], bad[1]) == nil {
			t.Errorf("%s may import %s, want a refusal", bad[0], bad[1])
		}
	}
	for _, good := range [][2]string{
		{"node", module + "/raftlog"}, {"raftlog/state", module + "/wire"}, {"wire", "fmt"},
		{"policies/policytest/cases", module + "/policies/policytest"}, {"raftlog", "github.com/hashicorp/raft"},
	} {
		if err := checkImport(good[0], good[1]); err != nil {
			t.Errorf("%s may not import %s: %v", good[0], good[1], err)
		}
	}
}
