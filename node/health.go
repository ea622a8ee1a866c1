package node

import (
	"context"
	"fmt"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// serveHealth answers all who ask at once with one look: it takes a consistent read.
func (n *Node) serveHealth(ctx context.Context, c *mux.ServerCall, req wire.HealthRequest) error {
	if relayed, err := n.atNode(ctx, c, req.Node); relayed {
		return err
	}
	reply, err, _ := n.stocktaking.Do("health", func() (any, error) {
		ctx, cancel := context.WithTimeout(n.ctx, readyLimit)
		defer cancel()
		reply := wire.HealthReply{Node: string(n.id), Checks: []wire.HealthCheck{}}
		for _, found := range n.checks(ctx) {
			reply.Checks = append(reply.Checks, wire.HealthCheck{Name: found.Name, Level: found.Level, Detail: found.Detail})
		}
		return &reply, nil
	})
	if err != nil {
		return err
	}
	return c.Reply(reply, nil)
}

// How many days before its certificate ends a node warns, and when it is high time.
const (
	certWarnDays = 30
	certHighDays = 3
)

// certChecks say how long this node's certificate is good, and whether what is in its files is in use. None makes the
// node unready: it serves as long as its certificate lasts, and a new one would not make it serve better.
func (n *Node) certChecks() []check {
	source := n.transport.Source()
	if source == nil {
		return nil
	}
	source.Refresh()
	checks := []check{certExpires(source, n.now())}
	files := check{Name: "CERT_FILES", OK: true, Level: levelOK, Advisory: true}
	if err := source.Stale(); err != nil {
		files = warning(files.Name, "the certificate has changed and cannot be used; the one before stays in use: %v", err)
	}
	checks = append(checks, files)
	if n.cfg.TLS.Deny == "" {
		return checks
	}
	certs, due, stale := source.Deny()
	deny := check{Name: "DENY_LIST", OK: true, Level: levelOK, Advisory: true}
	deny.Detail = fmt.Sprintf("%d certificates are revoked", certs)
	switch {
	case stale != nil:
		deny = warning(deny.Name, "the deny list has changed and cannot be used; "+
			"the one before, of %d certificates, stays in force: %v", certs, stale)
		deny.Level = levelError
	case !due.IsZero() && n.now().After(due):
		deny = warning(deny.Name, "it should have been replaced by %s; it stays in force", due.UTC().Format(time.RFC3339))
	}
	return append(checks, deny)
}

func certExpires(source *pki.Source, now time.Time) check {
	until := source.Until()
	days := int(until.Sub(now) / (24 * time.Hour))
	c := check{Name: "CERT_EXPIRES", OK: true, Level: levelOK, Advisory: true}
	c.Detail = fmt.Sprintf("%d days left, until %s", days, until.UTC().Format(time.RFC3339))
	if err := source.Own(); err != nil {
		c.OK, c.Level, c.Detail = false, levelError, err.Error()
		return c
	}
	if days < certWarnDays {
		c.OK, c.Level = false, levelWarn
		c.Detail += "; make a new one with datanode cert node " + source.Identity().Name + " --renew"
	}
	if days < certHighDays {
		c.Level = levelError
	}
	return c
}

func warning(name, format string, args ...any) check {
	return check{Name: name, Level: levelWarn, Detail: fmt.Sprintf(format, args...), Advisory: true}
}

// The levels of a check. They are words of an interface: never changed, only appended.
const (
	levelOK    = "OK"
	levelWarn  = "WARN"
	levelError = "ERR"
)

// level is what a check says of the node, where it does not say so itself.
func (c check) level() string {
	switch {
	case c.Level != "":
		return c.Level
	case c.OK:
		return levelOK
	case c.Advisory:
		return levelWarn
	}
	return levelError
}
