package node

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/pki"
)

// httpCell is a cell of one node that serves HTTP.
func httpCell(t *testing.T, change func(*Config)) (*cell, *Node) {
	t.Helper()
	c := newCellWith(t, 1, 0, func(cfg *Config) {
		cfg.HTTP = "127.0.0.1:0"
		change(cfg)
	})
	return c, c.nodes["n1"]
}

// ask makes a request as somebody, and tells what came back.
func askHTTP(t *testing.T, hc *http.Client, method, url, host string, header ...string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(testContext(t), method, url, nil)
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

func (d *httpDoor) refusals(why httpRefusal) uint64 { return d.refused[why].Load() }

// Connections on which nothing is asked are bounded, by machine and in all, and keep nobody out.
func TestIdleHTTPConnections(t *testing.T) {
	t.Parallel()
	c, n := httpCell(t, func(*Config) {})
	alive := func(from string) {
		t.Helper()
		tr := &http.Transport{DialContext: dialFrom(from)}
		defer tr.CloseIdleConnections()
		if status, body := askHTTP(t, &http.Client{Transport: tr}, http.MethodGet, n.HTTPURL()+"/livez", ""); status != http.StatusOK {
			t.Errorf("from %s: %d %s", from, status, body)
		}
	}
	flood := func(from string) {
		t.Helper()
		for i := range 2 * maxHTTPConnsPerAddr {
			nc, err := dialFrom(from)(testContext(t), "tcp", n.HTTPAddr())
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
	c.untilTrue("those that are too many are closed", func() bool {
		return n.httpDoor.refusals(httpCrowdedOut) >= maxHTTPConnsPerAddr && n.httpDoor.count() <= maxHTTPConnsPerAddr
	})
	alive("127.0.0.1")
	for i := range 6 {
		flood(fmt.Sprintf("127.0.0.%d", 10+i))
	}
	if got := n.httpDoor.count(); got > maxHTTPConns {
		t.Errorf("%d connections, want at most %d", got, maxHTTPConns)
	}
	alive("127.0.0.99")
	alive("127.0.0.10")
}

func dialFrom(ip string) func(context.Context, string, string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return d.DialContext
}

// Those that are busy are not closed for others.
func TestHTTPDoor(t *testing.T) {
	d := newHTTPDoor(nil)
	var held []*httpConn
	for range maxHTTPConnsPerAddr {
		nc, other := net.Pipe()
		t.Cleanup(func() { other.Close() })
		c := d.enter(nc)
		d.state(c, http.StateActive)
		held = append(held, c)
	}
	nc, _ := net.Pipe()
	if d.enter(nc) != nil {
		t.Fatal("one more is let in while all are busy")
	}
	d.state(held[3], http.StateIdle)
	d.state(held[1], http.StateIdle)
	if d.enter(nc) == nil || !held[3].left || held[1].left {
		t.Error("the one that was idle for longest does not make room")
	}
	for _, c := range held {
		c.Close()
		c.Close()
	}
	if d.count() != 1 || d.waiting.Len() != 1 {
		t.Errorf("%d connections are left, %d of them idle, want 1", d.count(), d.waiting.Len())
	}
}

// A request that does not come to its end is cut off, and one with a head that is too large.
func TestSlowHTTP(t *testing.T) {
	t.Parallel()
	_, n := httpCell(t, func(*Config) {})
	for name, start := range map[string]string{
		"half a head":     "GET /livez HTTP/1.1\r\nHost: localhost\r\n",
		"nothing":         "",
		"a head too long": "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 4*httpHeaderBytes),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, err := net.Dial("tcp", n.HTTPAddr())
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
	_, n := httpCell(t, func(cfg *Config) { cfg.HTTPHosts = []string{"Node.Example."} })
	for _, c := range []struct {
		method, path, host string
		want               int
		why                httpRefusal
	}{
		{http.MethodGet, "/livez", "", http.StatusOK, ""},
		{http.MethodHead, "/livez", "", http.StatusOK, ""},
		{http.MethodPost, "/livez", "", http.StatusMethodNotAllowed, httpMethod},
		{http.MethodOptions, "/metrics", "", http.StatusMethodNotAllowed, httpMethod},
		{http.MethodTrace, "/livez", "", http.StatusMethodNotAllowed, httpMethod},
		{http.MethodDelete, "/debug/pprof/", "", http.StatusMethodNotAllowed, httpMethod},
		{http.MethodGet, "/metrics", "localhost:7480", http.StatusOK, ""},
		{http.MethodGet, "/livez", "LOCALHOST.", http.StatusOK, ""},
		{http.MethodGet, "/livez", "[::1]:80", http.StatusOK, ""},
		{http.MethodGet, "/livez", "127.9.9.9", http.StatusOK, ""},
		{http.MethodGet, "/livez", "node.example:1", http.StatusOK, ""},
		{http.MethodGet, "/livez", "evil.example", http.StatusMisdirectedRequest, httpHost},
		{http.MethodGet, "/metrics", "localhost.evil.example:80", http.StatusMisdirectedRequest, httpHost},
		{http.MethodGet, "/metrics", "10.0.0.1", http.StatusMisdirectedRequest, httpHost},
		{http.MethodGet, "/metrics", "0.0.0.0:7480", http.StatusMisdirectedRequest, httpHost},
		{http.MethodGet, "/debug/pprof/profile?seconds=301", "", http.StatusBadRequest, httpMethod},
		{http.MethodGet, "/debug/pprof/profile?seconds=NaN", "", http.StatusBadRequest, httpMethod},
		{http.MethodGet, "/debug/pprof/cmdline?seconds=1", "", http.StatusNotFound, ""},
	} {
		before := uint64(0)
		if c.why != "" {
			before = n.httpDoor.refusals(c.why)
		}
		status, body := askHTTP(t, http.DefaultClient, c.method, n.HTTPURL()+c.path, c.host)
		if status != c.want {
			t.Errorf("%s %s for %q: %d %s, want %d", c.method, c.path, c.host, status, body, c.want)
		}
		if c.why != "" && n.httpDoor.refusals(c.why) == before {
			t.Errorf("%s %s for %q is not counted", c.method, c.path, c.host)
		}
	}
	if status, _ := askHTTP(t, http.DefaultClient, http.MethodGet, n.HTTPURL()+"/debug/pprof/goroutine", "", "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
		t.Errorf("a profile for another site's page: %d", status)
	}
	_, metrics := askHTTP(t, http.DefaultClient, http.MethodGet, n.HTTPURL()+"/metrics", "")
	for _, want := range []string{`datanode_http_refused_total{reason="host"} 4`, `datanode_http_refused_total{reason="turned-away"} 0`,
		"datanode_http_connections ", `datanode_certificates_unfit_total{reason="revoked",where="open"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
}

// Beyond this machine any address will do, and the names that others dial; the log warns.
func TestHTTPBeyondThisMachine(t *testing.T) {
	t.Parallel()
	said := &diary{}
	_, n := httpCell(t, func(cfg *Config) {
		cfg.HTTP, cfg.Logger = "0.0.0.0:0", slog.New(slog.NewTextHandler(said, nil))
	})
	_, port, err := net.SplitHostPort(n.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + port
	for host, want := range map[string]int{"10.1.2.3:80": http.StatusOK, "localhost": http.StatusOK, "evil.example": http.StatusMisdirectedRequest,
		"0.0.0.0": http.StatusMisdirectedRequest} {
		if status, body := askHTTP(t, http.DefaultClient, http.MethodGet, url+"/livez", host); status != want {
			t.Errorf("for %s: %d %s, want %d", host, status, body, want)
		}
	}
	if status, _ := askHTTP(t, http.DefaultClient, http.MethodGet, url+"/debug/pprof/", ""); status != http.StatusNotFound {
		t.Errorf("profiles beyond this machine: %d", status)
	}
	if !said.says("level=WARN", "beyond this machine", "plaintext") {
		t.Error("the log does not warn")
	}
}

// browser is an HTTP client that shows a certificate, if it has one, on one connection that it keeps.
func (o *office) browser(f pki.Files) *http.Client {
	o.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(o.cert)
	cfg := &tls.Config{RootCAs: roots}
	if f.Any() {
		own, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			o.t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{own}
	}
	tr := &http.Transport{TLSClientConfig: cfg, MaxConnsPerHost: 1}
	o.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// With a certificate HTTP is TLS too, and tells those without one only whether the node lives and is ready.
func TestSecureHTTP(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	deny := o.denyList()
	c := newSecureCell(t, o, 1, 0, func(cfg *Config) { cfg.HTTP, cfg.TLS.Deny = "127.0.0.1:0", deny.file })
	n := c.nodes["n1"]
	bobs := o.files(pki.RoleClient, "bob")
	nobody, bob, ops := o.browser(pki.Files{}), o.browser(bobs), o.browser(o.files(pki.RoleAdmin, "ops"))
	for _, ask := range []struct {
		who  string
		as   *http.Client
		path string
		want int
	}{
		{"nobody", nobody, "/livez", http.StatusOK}, {"nobody", nobody, "/readyz", http.StatusOK},
		{"nobody", nobody, "/readyz?verbose", http.StatusUnauthorized}, {"nobody", nobody, "/metrics", http.StatusUnauthorized},
		{"nobody", nobody, "/debug/pprof/", http.StatusUnauthorized}, {"nobody", nobody, "/livez/../metrics", http.StatusUnauthorized},
		{"bob", bob, "/metrics", http.StatusOK}, {"bob", bob, "/readyz?verbose", http.StatusOK},
		{"bob", bob, "/debug/pprof/goroutine", http.StatusForbidden}, {"ops", ops, "/debug/pprof/goroutine", http.StatusOK},
	} {
		if status, body := askHTTP(t, ask.as, http.MethodGet, n.HTTPURL()+ask.path, ""); status != ask.want {
			t.Errorf("%s asks for %s: %d %s, want %d", ask.who, ask.path, status, body, ask.want)
		}
	}
	_, metrics := askHTTP(t, bob, http.MethodGet, n.HTTPURL()+"/metrics", "")
	if !strings.Contains(metrics, "datanode_certificate_not_after_timestamp_seconds 1") {
		t.Error("the metrics do not have when the certificate ends")
	}
	if status, _ := askHTTP(t, http.DefaultClient, http.MethodGet, "http://"+n.HTTPAddr()+"/livez", ""); status != http.StatusBadRequest {
		t.Errorf("plaintext: %d", status)
	}

	deny.withdraw(bobs.Cert)
	c.untilTrue("the connection that is open is no good any more", func() bool {
		status, body := askHTTP(t, bob, http.MethodGet, n.HTTPURL()+"/metrics", "")
		return status == http.StatusForbidden && strings.Contains(body, "revoked")
	})
	if _, err := bob.Get(n.HTTPURL() + "/livez"); err == nil {
		t.Error("it may connect again")
	}
	if status, _ := askHTTP(t, nobody, http.MethodGet, n.HTTPURL()+"/livez", ""); status != http.StatusOK {
		t.Errorf("others: %d", status)
	}
	stranger := newOffice(t, "cell").files(pki.RoleAdmin, "ops")
	if _, err := o.browser(stranger).Get(n.HTTPURL() + "/livez"); err == nil {
		t.Error("another authority's certificate is accepted")
	}
}
