package cli

import (
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/pki"
)

// TLSFlags are the flags that name a certificate, the same for nodes and for those who talk to them.
func TLSFlags(add func(p *string, name, value, usage string), f *pki.Files) {
	add(&f.Cert, "tls-cert", "", "certificate to show, PEM (env DATANODE_TLS_CERT)")
	add(&f.Key, "tls-key", "", "key of the certificate (env DATANODE_TLS_KEY)")
	add(&f.CA, "tls-ca", "", "certificate of the authority that others' must be from (env DATANODE_TLS_CA)")
	add(&f.Deny, "tls-crl", "", "deny list of what the authority has revoked (env DATANODE_TLS_CRL, default none)")
}

// TLS is the certificate of the flags, else of the environment; nil for none.
func (a *App) TLS() (*pki.Source, error) {
	f := a.TLSFiles
	for _, v := range []struct {
		to   *string
		name string
	}{{&f.Cert, "tls-cert"}, {&f.Key, "tls-key"}, {&f.CA, "tls-ca"}, {&f.Deny, "tls-crl"}} {
		if *v.to == "" {
			*v.to = a.Env(EnvName(v.name))
		}
	}
	if err := CheckTLS(f); err != nil || !f.Any() {
		return nil, err
	}
	source, err := pki.Open(f)
	return source, exit.File(err)
}

// CheckTLS reports whether all of a certificate's files are named, or none.
func CheckTLS(f pki.Files) error {
	switch own := (pki.Files{Deny: f.Deny}); {
	case !f.Any() || f.Complete():
		return nil
	case f == own:
		return exit.Usagef("--tls-crl is of no use without --tls-cert, --tls-key and --tls-ca")
	}
	return exit.Usagef("--tls-cert, --tls-key and --tls-ca belong together; given are %q, %q and %q", f.Cert, f.Key, f.CA)
}

// NoTLS refuses certificates for a cell in one process: its nodes speak plaintext, and to believe otherwise would harm.
func (a *App) NoTLS(command string) error {
	if a.TLSFiles.Any() {
		return exit.Usagef(
			"the nodes of %s speak plaintext, to this machine only; --tls-cert, --tls-key and --tls-ca are for datanode serve",
			command)
	}
	return nil
}

// EnvName is the environment variable of a flag: DATANODE_LOG_LEVEL of --log-level.
func EnvName(flag string) string {
	return "DATANODE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
