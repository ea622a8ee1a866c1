package local

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
)

func TestAddPort(t *testing.T) {
	for _, c := range []struct {
		addr string
		more int
		want string // empty: a mistake
	}{
		{"127.0.0.1:7400", 0, "127.0.0.1:7400"}, {"127.0.0.1:7400", 2, "127.0.0.1:7402"}, {"[::1]:65534", 1, "[::1]:65535"},
		{"127.0.0.1:0", 5, "127.0.0.1:0"}, {"127.0.0.1:65535", 1, ""}, {"127.0.0.1:http", 0, ""}, {"127.0.0.1", 0, ""},
	} {
		got, err := addPort(c.addr, c.more)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s and %d more: %q, %v; want %q", c.addr, c.more, got, err, c.want)
		}
		if err != nil && exit.Code(t.Context(), err) != exit.Usage {
			t.Errorf("%s and %d more: %v, want a mistake of whoever typed it", c.addr, c.more, err)
		}
	}
}

// One address that is in use is reported, and none of the others stays open.
func TestConfigsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Configs(Options{Dir: t.TempDir(), Listen: l.Addr().String(), Nodes: 1, Voters: 1})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()+" is in use") {
		t.Errorf("%v, want that the address is in use", err)
	}
}

// The first nodes vote, the others join them, and each has a folder of its own.
func TestConfigs(t *testing.T) {
	cfgs, err := Configs(Options{Dir: "d", Listen: "127.0.0.1:0", Nodes: 4, Voters: 3, Replicas: 2, RepairDelay: "1s",
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i, cfg := range cfgs {
		defer cfg.Listener.Close()
		if voter := i < 3; len(cfg.Bootstrap) == 3 != voter || len(cfg.Join) == 0 != voter {
			t.Errorf("%s: bootstrap %v, join %v", cfg.ID, cfg.Bootstrap, cfg.Join)
		}
		if cfg.ID != ID(i) || cfg.Dir != "d/"+ID(i) || cfg.Listen != cfg.Listener.Addr().String() ||
			cfg.Settings["replicas"] != "2" || cfg.Settings["repair-delay"] != "1s" {
			t.Errorf("%+v", cfg)
		}
	}
}

func TestAwait(t *testing.T) {
	broken := errors.New("broken")
	looks := 0
	err := Await(t.Context(), "the third look", func() (bool, string, error) { looks++; return looks == 3, "", nil })
	if err != nil || looks != 3 {
		t.Errorf("%v after %d looks, want none after 3", err, looks)
	}
	if err := Await(t.Context(), "it", func() (bool, string, error) { return false, "", broken }); err != broken {
		t.Errorf("%v, want %v", err, broken)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	err = Await(ctx, "it", func() (bool, string, error) { return false, "not yet", nil })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waited for it: not yet") {
		t.Errorf("%v, want what was waited for and its state", err)
	}
}
