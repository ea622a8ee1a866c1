package health

import (
	"fmt"
	"time"

	"github.com/datanode/datanode/pki"
)

// How many days before its certificate ends a node warns, and when it is high time.
const (
	certWarnDays = 30
	certHighDays = 3
)

// Certs say how long a node's certificate is good, and whether what is in its files is in use; denies reports whether
// it has a deny list. None makes the node unready: it serves as long as its certificate lasts, and a new one would not
// make it serve better.
func Certs(source *pki.Source, denies bool, now time.Time) []Check {
	source.Refresh()
	checks := []Check{certExpires(source, now)}
	files := Check{Name: "CERT_FILES", OK: true, Level: OK, Advisory: true}
	if err := source.Stale(); err != nil {
		files = warning(files.Name,
			"the certificate has changed and cannot be used; the one before stays in use: %v", err)
	}
	checks = append(checks, files)
	if !denies {
		return checks
	}
	certs, due, stale := source.Deny()
	deny := Check{Name: "DENY_LIST", OK: true, Level: OK, Advisory: true}
	deny.Detail = fmt.Sprintf("%d certificates are revoked", certs)
	switch {
	case stale != nil:
		deny = warning(deny.Name, "the deny list has changed and cannot be used; "+
			"the one before, of %d certificates, stays in force: %v", certs, stale)
		deny.Level = Error
	case !due.IsZero() && now.After(due):
		deny = warning(deny.Name, "it should have been replaced by %s; it stays in force",
			due.UTC().Format(time.RFC3339))
	}
	return append(checks, deny)
}

func certExpires(source *pki.Source, now time.Time) Check {
	until := source.Until()
	days := int(until.Sub(now) / (24 * time.Hour))
	c := Check{Name: "CERT_EXPIRES", OK: true, Level: OK, Advisory: true}
	c.Detail = fmt.Sprintf("%d days left, until %s", days, until.UTC().Format(time.RFC3339))
	if err := source.Own(); err != nil {
		c.OK, c.Level, c.Detail = false, Error, err.Error()
		return c
	}
	if days < certWarnDays {
		c.OK, c.Level = false, Warn
		c.Detail += "; make a new one with datanode cert node " + source.Identity().Name + " --renew"
	}
	if days < certHighDays {
		c.Level = Error
	}
	return c
}
