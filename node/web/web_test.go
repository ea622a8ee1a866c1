package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/node/health"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// serve is HTTP of a node that is ready, and has nothing.
func serve(t *testing.T, change func(*Options)) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	view := statetest.New().State.Snapshot()
	o := Options{
		Addr: "127.0.0.1:0", Local: true, Advertise: l.Addr().String(), FirstByte: time.Second,
		Logger: slog.New(slog.DiscardHandler),
		Checks: func(context.Context) []health.Check { return health.Levels([]health.Check{health.Of("leader", nil)}) },
		Metrics: MetricsOptions{
			Transport: transport.New(t.Context(), transport.Options{Listener: l}),
			View:      func() *state.View { return view },
			Numbers:   func() Numbers { return Numbers{} },
		},
	}
	change(&o)
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		o.Metrics.Transport.Stop()
	})
	return s
}

// ask makes a request as somebody, and says what came back.
func ask(t *testing.T, hc *http.Client, method, url, host string, header ...string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := hc.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (s *Server) refusals(why refusal) uint64 { return s.door.refused[why].Load() }

// Connections on which nothing is asked are bounded, by machine and in all, and keep nobody out.
func TestIdleHTTPConnections(t *testing.T) {
	t.Parallel()
	n := serve(t, func(*Options) {})
	alive := func(from string) {
		t.Helper()
		tr := &http.Transport{DialContext: dialFrom(from)}
		defer tr.CloseIdleConnections()
		status, body := ask(t, &http.Client{Transport: tr}, http.MethodGet, n.URL()+"/livez", "")
		if status != http.StatusOK {
			t.Errorf("from %s: %d %s", from, status, body)
		}
	}
	flood := func(from string) {
		t.Helper()
		for i := range 2 * maxConnsPerAddr {
			nc, err := dialFrom(from)(t.Context(), "tcp", n.Addr())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { nc.Close() })
			if i%2 == 1 { // a request that never ends
				if _, err := nc.Write([]byte("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ")); err != nil {
					t.Logf("it was closed already: %v", err)
				}
			}
		}
	}
	flood("127.0.0.1")
	for n.refusals(refusedCrowdedOut) < maxConnsPerAddr || n.door.count() > maxConnsPerAddr {
		if t.Context().Err() != nil {
			t.Fatal("those that are too many are not closed")
		}
		runtime.Gosched()
	}
	alive("127.0.0.1")
	for i := range 6 {
		flood(fmt.Sprintf("127.0.0.%d", 10+i))
	}
	if got := n.door.count(); got > maxConns {
		t.Errorf("%d connections, want at most %d", got, maxConns)
	}
	alive("127.0.0.99")
	alive("127.0.0.10")
}

func dialFrom(ip string) func(context.Context, string, string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return d.DialContext
}

// A request that does not come to its end is cut off, and one with a head that is too large.
func TestSlowHTTP(t *testing.T) {
	t.Parallel()
	n := serve(t, func(*Options) {})
	for name, start := range map[string]string{
		"half a head":     "GET /livez HTTP/1.1\r\nHost: localhost\r\n",
		"nothing":         "",
		"a head too long": "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 4*headerBytes),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, err := net.Dial("tcp", n.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Write([]byte(start)); err != nil {
				t.Logf("cut off while it was sent: %v", err)
			}
			text, err := io.ReadAll(bufio.NewReader(nc))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is kept")
			}
			if strings.Contains(string(text), "200 OK") {
				t.Errorf("it is answered with %q", text)
			}
		})
	}
}

// Only GET and HEAD are served, and only to those who ask for this node by a name that is its own.
func TestHTTPRequests(t *testing.T) {
	t.Parallel()
	n := serve(t, func(o *Options) { o.Hosts = []string{"Node.Example."} })
	for _, c := range []struct {
		method, path, host string
		want               int
		why                refusal
	}{
		{http.MethodGet, "/livez", "", http.StatusOK, ""},
		{http.MethodHead, "/livez", "", http.StatusOK, ""},
		{http.MethodPost, "/livez", "", http.StatusMethodNotAllowed, refusedMethod},
		{http.MethodOptions, "/metrics", "", http.StatusMethodNotAllowed, refusedMethod},
		{http.MethodTrace, "/livez", "", http.StatusMethodNotAllowed, refusedMethod},
		{http.MethodDelete, "/debug/pprof/", "", http.StatusMethodNotAllowed, refusedMethod},
		{http.MethodGet, "/metrics", "localhost:7480", http.StatusOK, ""},
		{http.MethodGet, "/livez", "LOCALHOST.", http.StatusOK, ""},
		{http.MethodGet, "/livez", "[::1]:80", http.StatusOK, ""},
		{http.MethodGet, "/livez", "127.9.9.9", http.StatusOK, ""},
		{http.MethodGet, "/livez", "node.example:1", http.StatusOK, ""},
		{http.MethodGet, "/livez", "evil.example", http.StatusMisdirectedRequest, refusedHost},
		{http.MethodGet, "/metrics", "localhost.evil.example:80", http.StatusMisdirectedRequest, refusedHost},
		{http.MethodGet, "/metrics", "10.0.0.1", http.StatusMisdirectedRequest, refusedHost},
		{http.MethodGet, "/metrics", "0.0.0.0:7480", http.StatusMisdirectedRequest, refusedHost},
		{http.MethodGet, "/debug/pprof/profile?seconds=301", "", http.StatusBadRequest, refusedMethod},
		{http.MethodGet, "/debug/pprof/profile?seconds=NaN", "", http.StatusBadRequest, refusedMethod},
		{http.MethodGet, "/debug/pprof/cmdline?seconds=1", "", http.StatusNotFound, ""},
	} {
		before := uint64(0)
		if c.why != "" {
			before = n.refusals(c.why)
		}
		status, body := ask(t, http.DefaultClient, c.method, n.URL()+c.path, c.host)
		if status != c.want {
			t.Errorf("%s %s for %q: %d %s, want %d", c.method, c.path, c.host, status, body, c.want)
		}
		if c.why != "" && n.refusals(c.why) == before {
			t.Errorf("%s %s for %q is not counted", c.method, c.path, c.host)
		}
	}
	status, _ := ask(t, http.DefaultClient, http.MethodGet, n.URL()+"/debug/pprof/goroutine", "",
		"Sec-Fetch-Site", "cross-site")
	if status != http.StatusForbidden {
		t.Errorf("a profile for another site's page: %d", status)
	}
	_, metrics := ask(t, http.DefaultClient, http.MethodGet, n.URL()+"/metrics", "")
	for _, want := range []string{`datanode_http_refused_total{reason="host"} 4`,
		`datanode_http_refused_total{reason="turned-away"} 0`,
		"datanode_http_connections ", `datanode_certificates_unfit_total{reason="revoked",where="open"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
}

// Beyond this machine any address will do, and the names that others dial; the log warns.
func TestHTTPBeyondThisMachine(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer // written to before there is anybody to ask
	n := serve(t, func(o *Options) {
		o.Addr, o.Local, o.Logger = "0.0.0.0:0", false, slog.New(slog.NewTextHandler(&said, nil))
	})
	text := said.String()
	_, port, err := net.SplitHostPort(n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + port
	for host, want := range map[string]int{
		"10.1.2.3:80": http.StatusOK, "localhost": http.StatusOK, "evil.example": http.StatusMisdirectedRequest,
		"0.0.0.0": http.StatusMisdirectedRequest} {
		if status, body := ask(t, http.DefaultClient, http.MethodGet, url+"/livez", host); status != want {
			t.Errorf("for %s: %d %s, want %d", host, status, body, want)
		}
	}
	if status, _ := ask(t, http.DefaultClient, http.MethodGet, url+"/debug/pprof/", ""); status != http.StatusNotFound {
		t.Errorf("profiles beyond this machine: %d", status)
	}
	for _, want := range []string{"level=WARN", "beyond this machine", "plaintext"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not have %q: %s", want, text)
		}
	}
}
