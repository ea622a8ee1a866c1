package node

import (
	"testing"

	"github.com/datanode/datanode/node/health"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
)

// Whoever may look asks any node how any other is, in the words of /readyz?verbose.
func TestHealthOfNodes(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	deny := o.denyList()
	c := newSecureCell(t, o, 3, 0, func(cfg *Config) { cfg.TLS.Deny = deny.file })
	bob := c.as(o.Source(pki.RoleClient, "bob"))
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
		if reply.Node != id || levels["leader"] != health.OK || levels["CERT_EXPIRES"] != health.Error ||
			levels["DENY_LIST"] != health.OK || levels["CERT_FILES"] != health.OK ||
			levels["consistent-read"] != health.OK {
			t.Errorf("%s answers as %s: %v", id, reply.Node, reply.Checks) // the certificates of tests last an hour
		}
	}
	if _, err := bob.Health(testContext(t), "n9"); wire.CodeOf(err) != wire.CodeNotFound {
		t.Errorf("of a node that there is not: %v", err)
	}
}
