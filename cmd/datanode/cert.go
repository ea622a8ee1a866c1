package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/pki"
	"github.com/spf13/cobra"
)

const (
	defaultCertDir  = "certs"
	defaultCertDays = 365
	maxCertDays     = 3650
)

// certs are the flags of the cert commands.
type certs struct {
	dir, cluster string
	days         int
	hosts        []string
	renew        bool
}

func newCertCommand(a app) *cobra.Command {
	return cli.Group("cert", "Make the certificates of a cell",
		`Make the certificates of a cell. All are kept in one folder: the authority, whose key should leave this machine
as seldom as possible, and what it has signed. A running node takes up a renewed certificate by itself.`,
		newCertInitCommand(a), newCertIssueCommand(a, pki.RoleNode),
		newCertIssueCommand(a, pki.RoleClient), newCertIssueCommand(a, pki.RoleAdmin),
		newCertListCommand(a), newCertRevokeCommand(a))
}

func newCertInitCommand(a app) *cobra.Command {
	var c certs
	cmd := &cobra.Command{
		Use: "init", Short: "Make the authority of a cell", Args: cli.Takes(0, 0),
		Example: "  datanode cert init --dir certs",
		Long:    "Make the authority that signs the certificates of a cell, valid for ten years.",
		RunE:    func(*cobra.Command, []string) error { return a.certInit(c) },
	}
	cmd.Flags().StringVar(&c.dir, "dir", defaultCertDir, "folder of the certificates")
	cmd.Flags().StringVar(&c.cluster, "cluster", "cell", "name that all of its certificates carry")
	return cmd
}

func newCertIssueCommand(a app, role pki.Role) *cobra.Command {
	var c certs
	what := map[pki.Role][3]string{
		pki.RoleNode:   {"ID", "Make the certificate of a node", "datanode cert node n1 --host n1.example.org"},
		pki.RoleClient: {"NAME", "Make a certificate to store, read, delete and look with", "datanode cert client backup"},
		pki.RoleAdmin: {"NAME", "Make a certificate to change the cell with: nodes, policies, settings",
			"datanode cert admin me --days 90"},
	}[role]
	cmd := &cobra.Command{
		Use: string(role) + " " + what[0], Short: what[1], Example: "  " + what[2], Args: cli.Takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.certIssue(c, role, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.dir, "dir", defaultCertDir, "folder of the certificates")
	flags.IntVar(&c.days, "days", defaultCertDays, "how long it is valid")
	flags.BoolVar(&c.renew, "renew", false, "replace the one that there is")
	if role == pki.RoleNode {
		flags.StringSliceVar(&c.hosts, "host", nil,
			"host name or IP address that others dial; may be repeated (default: this machine only; with --renew: as before)")
	}
	return cmd
}

func (a app) certInit(c certs) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	ca, pair, err := pki.NewAuthority(c.cluster, time.Now())
	if err != nil {
		return exit.Usagef("%w", err)
	}
	if err := writePair(c.dir, "ca", pair, false); err != nil {
		return err
	}
	// An empty one, so that nodes can be given it before it is needed.
	if _, err := withdraw(ca, c.dir, nil); err != nil {
		return err
	}
	if err := a.printIssued(c.dir, "ca"); err != nil {
		return err
	}
	a.Note("next, for each node and for yourself:\n  datanode cert node n1 --host HOST%s\n  datanode cert admin %s%s",
		dirFlag(c.dir), "NAME", dirFlag(c.dir))
	return nil
}

func (a app) certIssue(c certs, role pki.Role, name string) error {
	if c.days < 1 || c.days > maxCertDays {
		return exit.Usagef("--days %d: want 1 to %d", c.days, maxCertDays)
	}
	ca, err := readAuthority(c.dir)
	if err != nil {
		return err
	}
	stem := string(role) + "-" + name
	if role == pki.RoleNode && len(c.hosts) == 0 {
		if c.hosts, err = c.defaultHosts(stem); err != nil {
			return err
		}
	}
	now := time.Now()
	pair, err := ca.Issue(pki.Request{Role: role, Name: name, Hosts: c.hosts, From: now,
		Expiry: now.AddDate(0, 0, c.days)})
	if err != nil {
		return exit.Usagef("%w", err)
	}
	if !c.renew {
		if err := checkAbsent(c.dir, stem); err != nil {
			return err
		}
	}
	// First: a certificate that nobody remembers could not be revoked by its name.
	if err := remember(c.dir, stem, pair.Cert); err != nil {
		return err
	}
	if err := writePair(c.dir, stem, pair, c.renew); err != nil {
		return err
	}
	if err := a.printIssued(c.dir, stem); err != nil {
		return err
	}
	use := "datanode status --addr HOST:PORT"
	if role == pki.RoleNode {
		use = "datanode serve --id " + name + " …"
	}
	cert, key := pairFiles(c.dir, stem)
	authority, _ := pairFiles(c.dir, "ca")
	crl := ""
	if role == pki.RoleNode {
		if _, err := withdraw(ca, c.dir, nil); err != nil { // the folder may be of an older build
			return err
		}
		crl = " --tls-crl " + denyFile(c.dir)
	}
	a.Note("use it with\n  %s --tls-cert %s --tls-key %s --tls-ca %s%s", use, cert, key, authority, crl)
	return nil
}

// defaultHosts are those of the certificate that is replaced, else this machine.
func (c certs) defaultHosts(stem string) ([]string, error) {
	here := []string{"127.0.0.1", "::1", "localhost"}
	if !c.renew {
		return here, nil
	}
	name, _ := pairFiles(c.dir, stem)
	old, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return here, nil
	}
	if err != nil {
		return nil, err
	}
	hosts, err := pki.HostsOf(old)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; say its --host", name, err)
	}
	return hosts, nil
}

func dirFlag(dir string) string {
	if dir == defaultCertDir {
		return ""
	}
	return " --dir " + dir
}

func pairFiles(dir, stem string) (cert, key string) {
	return filepath.Join(dir, stem+".pem"), filepath.Join(dir, stem+"-key.pem")
}

func readAuthority(dir string) (*pki.Authority, error) {
	certFile, keyFile := pairFiles(dir, "ca")
	cert, err := os.ReadFile(certFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, exit.With(exit.NotFound, "there is no authority in %s; make one with datanode cert init%s", dir,
			dirFlag(dir))
	}
	if err != nil {
		return nil, err
	}
	if err := pki.CheckKeyFile(keyFile); err != nil {
		return nil, exit.File(err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, exit.File(err)
	}
	ca, err := pki.ParseAuthority(pki.Pair{Cert: cert, Key: key})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	return ca, nil
}

// issued are the files of a certificate, as --tls-cert, --tls-key and --tls-ca name them.
type issued struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
	CA   string `json:"ca"`
}

// printIssued names the files that were written.
func (a app) printIssued(dir, stem string) error {
	var files issued
	files.Cert, files.Key = pairFiles(dir, stem)
	files.CA, _ = pairFiles(dir, "ca")
	if a.Output != term.FormatTable {
		return term.Show(a.Terminal, files, nil)
	}
	return a.Print("%s\n%s", files.Key, files.Cert)
}

// writePair writes both files, or says which is there already. The key comes first: a node that looks in
// between finds a certificate that is not of the key, and keeps what it has.
func writePair(dir, stem string, pair pki.Pair, replace bool) error {
	cert, key := pairFiles(dir, stem)
	if !replace {
		if err := checkAbsent(dir, stem); err != nil {
			return err
		}
	}
	if err := writeSecret(key, pair.Key); err != nil {
		return err
	}
	return writeSecret(cert, pair.Cert)
}

// checkAbsent refuses to replace a certificate or its key.
func checkAbsent(dir, stem string) error {
	cert, key := pairFiles(dir, stem)
	var there []string
	for _, name := range []string{cert, key} {
		if _, err := os.Lstat(name); err == nil {
			there = append(there, name)
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	how := "choose another --dir"
	if stem != "ca" {
		how += ", or replace it with --renew"
	}
	switch {
	case len(there) == 0:
		return nil
	case there[0] == key:
		return exit.With(exit.Refused,
			"%s is there already, without its certificate; if that was never finished remove it, else %s", key, how)
	}
	return exit.With(exit.Refused, "%s is there already; %s", there[0], how)
}

// writeSecret replaces a file in one step by one that only its owner may read.
func writeSecret(name string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+strings.TrimSuffix(filepath.Base(name), ".pem")+"-*") // 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
