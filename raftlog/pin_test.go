package raftlog

import (
	"os"
	"strings"
	"testing"
)

// TestEngineIsHeldBack: raft v1.8.0 resolves, and then raft-boltdb v2.3.1, the newest there is, does not build: it
// imports the compatibility package of go-metrics, which raft v1.8.0 takes in a version that no longer has it. Its
// behaviour that this package covers for, see guard, was also read in these versions. Whoever raises one raises and
// reads all.
func TestEngineIsHeldBack(t *testing.T) {
	b, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"github.com/hashicorp/raft v1.7.3", "github.com/hashicorp/raft-boltdb/v2 v2.3.1", "go.etcd.io/bbolt v1.5.0",
		"github.com/hashicorp/go-metrics v0.6.0",
	} {
		if !strings.Contains(string(b), want+"\n") && !strings.Contains(string(b), want+" ") {
			t.Errorf("go.mod has no %s", want)
		}
	}
}
