package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/wire"
)

// A cell that has lost most of its voters says so, whichever node is asked and whatever else is named, with exit code 5
// and by the names of those that are missing: one was killed, the other does not move.
func TestStatusWithoutQuorum(t *testing.T) {
	processes := newProcesses(t, 3, 3)
	for _, p := range processes {
		p.start()
	}
	newE2E(t, processes).nodesUp(t, 3)
	if code, out := command(t, processes[2].addr, "status"); code != exit.Done || !strings.Contains(out, "n1, n2, n3") {
		t.Errorf("exit code %d with all nodes up, want %d and all voters", code, exit.Done)
	}
	processes[0].signal(syscall.SIGKILL)
	processes[0].wait()
	processes[1].signal(syscall.SIGSTOP)
	all := processes[0].addr + "," + processes[1].addr + "," + processes[2].addr
	clitest.Must(t, local.Await(t.Context(), "n3 to miss its leader", func() (bool, string, error) {
		code, out := command(t, all, "status")
		return code == exit.Unavailable, out, nil
	}))
	code, out, notes := commandNotes(t, all, "status")
	for _, want := range []string{"n1 (no answer), n2 (no answer), n3", "no leader since"} {
		if code != exit.Unavailable || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want %d; %q is not in:\n%s", code, exit.Unavailable, want, out)
		}
	}
	for _, want := range []string{"1 of its 3 voters answer, and 2 must", processes[0].addr, processes[1].addr} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in:\n%s", want, notes)
		}
	}
	processes[1].signal(syscall.SIGCONT)
}

func TestNoLeaderSaysWhoIsMissing(t *testing.T) {
	there, gone := wire.Voter{Node: "n1", Addr: "a:1", Answers: true}, wire.Voter{Node: "n2", Addr: "a:2"}
	for want, s := range map[string]wire.Status{
		"":                              {Leader: "n1", Voters: []wire.Voter{gone}},
		"1 of its 3 voters answer":      {Voters: []wire.Voter{there, gone, gone}},
		"n2 (a:2) does not":             {Voters: []wire.Voter{there, gone, there}},
		"although all":                  {Voters: []wire.Voter{there, there, there}},
		"since 1970-01-01T00:00:01.000": {Since: 1e6},
	} {
		err := noLeader(s)
		if want == "" {
			if err != nil {
				t.Errorf("with a leader: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || exit.Code(t.Context(), err) != exit.Unavailable {
			t.Errorf("%+v: %v, want %q and exit code %d", s, err, want, exit.Unavailable)
		}
	}
}

// A setting that asks for more disks than there are nodes is reported.
func TestSettingsWarn(t *testing.T) {
	addr := startCell(t, 3)
	for _, c := range []struct{ key, value, says string }{
		{"replicas", "3", ""}, {"backoff", "1s", ""},
		{"replicas", "4", "replicas is 4, and only 3 nodes"},
		{"replicas", "9", "min-replicas is 5, and only 3 nodes"},
		{"min-replicas", "4", "puts are refused"},
		{"min-replicas", "2", "replicas is 9"},
		{"replicas", "2", ""},
	} {
		code, _, notes := commandNotes(t, addr, "settings", "set", c.key, c.value)
		if code != exit.Done || !strings.Contains(notes, c.says) || (c.says == "") != (notes == "") {
			t.Errorf("settings set %s %s: exit code %d, %q; want %d, %q", c.key, c.value, code, notes, exit.Done, c.says)
		}
	}
}
