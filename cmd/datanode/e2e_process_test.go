package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
)

// actEnv makes the test program act as datanode, with the arguments behind --.
const actEnv = "DATANODE_TEST_ACT"

// TestActAsDatanode is no test: it is what the processes of the other tests run.
func TestActAsDatanode(*testing.T) {
	if os.Getenv(actEnv) != "" {
		os.Exit(run(flag.Args(), os.Stdin, os.Stdout, os.Stderr, os.Getenv))
	}
}

// datanode is a command line in a process of its own.
func datanode(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"-test.run=^TestActAsDatanode$", "--"}, args...)...)
	cmd.Env = append(os.Environ(), actEnv+"=1")
	return cmd
}

// command runs a command line to its end.
func command(t *testing.T, addr string, args ...string) (code int, stdout string) {
	t.Helper()
	code, stdout, _ = commandNotes(t, addr, args...)
	return code, stdout
}

// commandNotes is cli with what went to stderr.
func commandNotes(t *testing.T, addr string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := datanode(append(args, "--addr", addr)...)
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	t.Logf("datanode %s: exit %d\n%s%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), out.String(),
		notes.String())
	return cmd.ProcessState.ExitCode(), out.String(), notes.String()
}

// processLimit bounds every wait for a process. Nothing waits for it to pass.
const processLimit = 3 * time.Minute

// nodeProcess is one node in a process of its own, which may be started again.
type nodeProcess struct {
	t             *testing.T
	id, addr, dir string
	enter         []string // --bootstrap … or --join …
	log           *clitest.Watcher
	cmd           *exec.Cmd
	exited        chan struct{}
}

// newProcesses gives count nodes addresses and folders; the first voters of them found a cell.
func newProcesses(t *testing.T, count, voters int) []*nodeProcess {
	t.Helper()
	all := make([]*nodeProcess, count)
	port := freePorts(t, count)
	var founders []string
	for i := range all {
		p := &nodeProcess{t: t, id: local.ID(i), addr: fmt.Sprintf("127.0.0.1:%d", port+i),
			dir: filepath.Join(t.TempDir(), local.ID(i)), log: &clitest.Watcher{}}
		all[i] = p
		if i < voters {
			founders = append(founders, p.id+"="+p.addr)
		}
		t.Cleanup(p.cleanUp)
	}
	for i, p := range all {
		p.enter = []string{"--bootstrap", strings.Join(founders, ",")}
		if i >= voters {
			p.enter = []string{"--join", all[0].addr}
		}
	}
	return all
}

// start starts the node, again if it ran before.
func (p *nodeProcess) start() {
	p.t.Helper()
	p.cmd = datanode(append([]string{"serve", "--id", p.id, "--dir", p.dir, "--listen", p.addr, "--log-level", "WARN"},
		p.enter...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // its state says it better
		close(exited)
	}(p.cmd, p.exited)
}

func (p *nodeProcess) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.id, err)
	}
}

// wait waits for the process's end.
func (p *nodeProcess) wait() *os.ProcessState {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState
	case <-time.After(processLimit):
		p.t.Fatalf("%s has not ended within %s", p.id, processLimit)
		return nil
	}
}

func (p *nodeProcess) cleanUp() {
	if p.exited != nil {
		_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended already
		<-p.exited
	}
	if p.t.Failed() {
		p.t.Logf("%s said:\n%s", p.id, p.log)
	}
}
