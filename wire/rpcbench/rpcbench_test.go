package rpcbench

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// serveEnv makes the test binary the server of one peer instead of running tests.
const serveEnv = "DATANODE_RPCBENCH_SERVE"

func TestMain(m *testing.M) {
	name := os.Getenv(serveEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	p, ok := Find(Peers(), name)
	if !ok {
		os.Exit(2)
	}
	if err := Serve(p, os.Stdin, os.Stdout); err != nil {
		os.Exit(1)
	}
}

func starter(ctx context.Context, name string) (*Server, error) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+name)
	return Start(cmd)
}

// TestRun goes through every measurement once, for a moment, and checks that each has measured something.
func TestRun(t *testing.T) {
	rows := 0
	err := Run(t.Context(), starter, 20*time.Millisecond, func(r Row) error {
		rows++
		switch {
		case r.Calls != nil:
			if c := r.Calls; c.Calls == 0 || c.P50 <= 0 || c.P99 < c.P50 || c.Max < c.P99 || c.PerSecond <= 0 {
				t.Errorf("%s: %+v", r.What, *c)
			}
		case r.Idle != nil:
			if r.Idle.Client == 0 || r.Idle.Server == 0 {
				t.Errorf("%s: %+v", r.What, *r.Idle)
			}
		case r.BytesPerSecond <= 0:
			t.Errorf("%s: %+v", r.What, r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := 13; rows != want {
		t.Errorf("%d rows, want %d", rows, want)
	}
}

// TestServerEnds: a measurement whose server dies says so instead of hanging.
func TestServerEnds(t *testing.T) {
	s, err := starter(t.Context(), "datanode")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // killed
	p, _ := Find(Peers(), "datanode")
	if c, err := MeasureCalls(t.Context(), p, s, 1, Limit{Calls: 1}); err == nil {
		t.Fatalf("measured %+v of a server that is gone", c)
	}
}
