package plugins

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/policies"
)

// buildChatty compiles testdata/chatty as an author would.
func buildChatty(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "chatty.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./testdata/chatty")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// ask has chatty do something and gives the priority it answers.
func askChatty(m *Module, what uint32) (int32, error) {
	out := make([]policies.Score, 1)
	_, err := m.Score(context.Background(), []policies.Facts{{QueuedOps: what, NowMicros: 1_700_000_000_123_456}}, out)
	return out[0].Priority, err
}

// A guest built by the Go toolchain runs, and sees nothing of the world but what it is given.
func TestGoGuest(t *testing.T) {
	ctx := context.Background()
	var logged bytes.Buffer
	h := newHost(t, Options{Budget: policies.Budget{Batch: 2 << 30}, Logger: slog.New(slog.NewJSONHandler(&logged, nil))})
	m, err := h.CompileWith(ctx, buildChatty(t), map[string]string{"short": "abc", "long": strings.Repeat("y", 1000)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(ctx)
	if string(m.ConfigSchema()) != `{"type":"object"}` {
		t.Errorf("schema %s", m.ConfigSchema())
	}
	for what, want := range map[uint32]int32{0: 0, 4: 301_000, 5: 0, 6: 1} {
		if have, err := askChatty(m, what); err != nil || have != want {
			t.Errorf("asked for %d: %d, %v, want %d", what, have, err, want)
		}
	}
	t.Run("random", func(t *testing.T) {
		first, err := askChatty(m, 8)
		second, err2 := askChatty(m, 8)
		if err != nil || err2 != nil || first != second || first == 0 {
			t.Errorf("%d, %v, then %d, %v: want the same twice", first, err, second, err2)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		for range 4 { // 256 MiB in all, in a memory of 16
			if n, err := askChatty(m, 7); err != nil || n != 64<<10 {
				t.Fatalf("%d, %v", n, err)
			}
		}
	})
	t.Run("log", func(t *testing.T) { checkLog(t, m, &logged) })
	t.Run("count", func(t *testing.T) { checkCounters(t, m) })
	t.Run("ends", func(t *testing.T) { checkEnds(t, m) })
}

func checkLog(t *testing.T, m *Module, logged *bytes.Buffer) {
	logged.Reset()
	if _, err := askChatty(m, 1); err != nil {
		t.Fatal(err)
	}
	text := logged.String()
	if n := strings.Count(text, "policy says"); n != maxLogLines {
		t.Errorf("%d lines were logged, want %d", n, maxLogLines)
	}
	if n := strings.Count(text, "on and on"); n == 0 || len(text) > 8192 {
		t.Errorf("stderr: %d of its words, %d bytes in all", n, len(text))
	}
	if strings.Contains(text, "\x1b") || strings.Contains(text, `\u001b`) || !strings.Contains(text, m.Info().Digest) {
		t.Errorf("logged: %.300s", text)
	}
}

func checkCounters(t *testing.T, m *Module) {
	for range 2 {
		if _, err := askChatty(m, 2); err != nil {
			t.Fatal(err)
		}
	}
	counters := m.Counters()
	if counters["asked"] != 10 || len(counters) != maxCounters {
		t.Errorf("asked %d, want 10; %d names, want %d", counters["asked"], len(counters), maxCounters)
	}
}

func checkEnds(t *testing.T, m *Module) {
	for what, want := range map[uint32]struct {
		cause  CallCause
		detail string
	}{
		3:  {Trapped, "panic: chatty: gives up"},
		9:  {Trapped, "exit_code(0)"},
		10: {Overrun, "units is spent"},
	} {
		_, err := askChatty(m, what)
		var call *CallError
		if !errors.As(err, &call) || call.Cause != want.cause || !strings.Contains(call.Detail, want.detail) {
			t.Errorf("asked for %d: %v, want %s: ...%s...", what, err, want.cause, want.detail)
		}
		if _, err := askChatty(m, 0); err != nil {
			t.Errorf("the call after %d: %v", what, err)
		}
	}
}

func BenchmarkScoreGo(b *testing.B) {
	m := compile(b, newHost(b, Options{}), buildChatty(b))
	benchmarkScore(b, m)
}
