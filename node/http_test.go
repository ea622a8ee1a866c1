package node

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/datanode/datanode/pki"
)

// ask makes a request as somebody, and says what came back.
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

// browser is an HTTP client that shows a certificate, if it has one, on one connection that it keeps.
func (o *office) browser(f pki.Files) *http.Client {
	o.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(o.Cert)
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

// With a certificate HTTP is TLS too, and shows those without one only whether the node lives and is ready.
func TestSecureHTTP(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	deny := o.denyList()
	c := newSecureCell(t, o, 1, 0, func(cfg *Config) { cfg.HTTP, cfg.TLS.Deny = "127.0.0.1:0", deny.file })
	n := c.nodes["n1"]
	bobs := o.Files(pki.RoleClient, "bob")
	nobody, bob, ops := o.browser(pki.Files{}), o.browser(bobs), o.browser(o.Files(pki.RoleAdmin, "ops"))
	for _, ask := range []struct {
		who  string
		as   *http.Client
		path string
		want int
	}{
		{"nobody", nobody, "/livez", http.StatusOK}, {"nobody", nobody, "/readyz", http.StatusOK},
		{"nobody", nobody, "/readyz?verbose", http.StatusUnauthorized},
		{"nobody", nobody, "/metrics", http.StatusUnauthorized},
		{"nobody", nobody, "/debug/pprof/", http.StatusUnauthorized},
		{"nobody", nobody, "/livez/../metrics", http.StatusUnauthorized},
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
	plain := "http://" + n.HTTPAddr() + "/livez"
	if status, _ := askHTTP(t, http.DefaultClient, http.MethodGet, plain, ""); status != http.StatusBadRequest {
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
	stranger := newOffice(t, "cell").Files(pki.RoleAdmin, "ops")
	if _, err := o.browser(stranger).Get(n.HTTPURL() + "/livez"); err == nil {
		t.Error("another authority's certificate is accepted")
	}
}
