package node

import (
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
)

// Days that a node's certificate has left are one of its checks: it warns below 30, it is an error below 3, and neither
// makes the node unready.
func TestCertExpires(t *testing.T) {
	o := newOffice(t, "cell")
	for days, want := range map[int]string{40: levelOK, 30: levelOK, 29: levelWarn, 3: levelWarn, 2: levelError, 0: levelError} {
		files := o.files(pki.RoleNode, "n1")
		now := time.Now()
		until := now.Add(time.Duration(days)*24*time.Hour + time.Hour)
		r := pki.Request{Role: pki.RoleNode, Name: "n1", Hosts: []string{"127.0.0.1"}, From: now, Expiry: until}
		pair, err := o.ca.Issue(r)
		if err != nil {
			t.Fatal(err)
		}
		o.write(files, pair)
		got := certExpires(openSource(t, files), now)
		if got.Name != "CERT_EXPIRES" || got.Level != want || got.OK != (want == levelOK) || !got.Advisory {
			t.Errorf("%d days left: %+v, want %s", days, got, want)
		}
		if want != levelOK && !strings.Contains(got.Detail, "cert node n1 --renew") {
			t.Errorf("%d days left: %q does not say what to do", days, got.Detail)
		}
	}
	files := o.files(pki.RoleNode, "n1")
	later := time.Now().Add(30 * 24 * time.Hour)
	clock := time.Now()
	source, err := pki.OpenAt(files, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	clock = later
	if got := certExpires(source, later); got.Level != levelError || !strings.Contains(got.Detail, "has ended") {
		t.Errorf("ended: %+v", got)
	}
}

// Whoever may look asks any node how any other is, in the words of /readyz?verbose.
func TestHealthOfNodes(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	deny := o.denyList()
	c := newSecureCell(t, o, 3, 0, func(cfg *Config) { cfg.TLS.Deny = deny.file })
	bob := c.as(o.source(pki.RoleClient, "bob"))
	defer bob.Close()
	for _, id := range []string{"n1", "n2", "n3"} {
		reply, err := bob.Health(testContext(t), id)
		if err != nil {
			t.Fatal(err)
		}
		levels := map[string]string{}
		for _, got := range reply.Checks {
			levels[got.Name] = got.Level
		}
		if reply.Node != id || levels["leader"] != levelOK || levels["CERT_EXPIRES"] != levelError || levels["DENY_LIST"] != levelOK ||
			levels["CERT_FILES"] != levelOK || levels["consistent-read"] != levelOK {
			t.Errorf("%s answers as %s: %v", id, reply.Node, reply.Checks) // the certificates of tests last an hour
		}
	}
	if _, err := bob.Health(testContext(t), "n9"); wire.CodeOf(err) != wire.CodeNotFound {
		t.Errorf("of a node that there is not: %v", err)
	}
}
