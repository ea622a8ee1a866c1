package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/pki"
	"github.com/spf13/cobra"
)

// roleAuthority stands for a role where the certificate is the authority's own.
const roleAuthority = "authority"

func newCertListCommand(a app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "ls", Short: "List certificates, how many days they last, and which are revoked", Args: cli.Takes(0, 0),
		Example: "  datanode cert ls --dir certs",
		RunE: func(*cobra.Command, []string) error {
			certs, err := listCerts(dir)
			if err != nil {
				return err
			}
			return printCerts(a, certs)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", defaultCertDir, "folder of the certificates")
	return cmd
}

func printCerts(a app, certs []certRecord) error {
	return term.List(a.Terminal, term.Items(certs),
		term.Col("ROLE", func(c certRecord) string { return c.Role }),
		term.Col("NAME", func(c certRecord) string { return c.Name }),
		term.Col("SERIAL", func(c certRecord) string { return c.Serial }),
		term.Col("DAYS", daysText),
		term.Col("UNTIL", func(c certRecord) string {
			if c.Until.IsZero() {
				return ""
			}
			return c.Until.UTC().Format(time.RFC3339)
		}),
		term.Col("STATE", func(c certRecord) string { return c.State }),
		term.Col("FILE", func(c certRecord) string { return c.File }))
}

func daysText(c certRecord) string {
	if c.Until.IsZero() { // made somewhere else
		return ""
	}
	return strconv.Itoa(c.Days)
}

// listCerts are the certificates in a folder, and those that it remembers.
func listCerts(dir string) ([]certRecord, error) {
	now := time.Now()
	names, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return nil, err
	}
	issued, err := readIssued(dir)
	if err != nil {
		return nil, err
	}
	caFile, _ := pairFiles(dir, "ca")
	ca, err := os.ReadFile(caFile)
	if errors.Is(err, os.ErrNotExist) && len(names) == 0 {
		return nil, exit.With(exit.NotFound, "there are no certificates in %s; make some with datanode cert init%s",
			dir, dirFlag(dir))
	}
	var certs []certRecord
	for _, name := range names {
		if strings.HasSuffix(name, "-key.pem") || name == denyFile(dir) {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		record, err := readCert(name, text, now)
		if err != nil { // of another program, or damaged: of no account for the others
			record = certRecord{State: "unreadable", File: name}
		}
		certs = append(certs, record)
	}
	for _, c := range issued {
		if !slices.ContainsFunc(certs, func(had certRecord) bool { return had.Serial == c.Serial }) {
			c.State = "replaced"
			certs = append(certs, c.at(now))
		}
	}
	if err := markRevoked(certs, dir, ca); err != nil {
		return nil, err
	}
	slices.SortStableFunc(certs, func(a, b certRecord) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name), b.Until.Compare(a.Until))
	})
	return certs, nil
}

// readCert is the certificate in a file.
func readCert(name string, text []byte, now time.Time) (certRecord, error) {
	c, err := pki.Read(text)
	if err != nil {
		return certRecord{}, err
	}
	r := certRecord{
		Role: string(c.Role), Name: c.Name, Serial: pki.SerialText(c.Serial), Until: c.Until, State: "valid", File: name,
	}
	if c.Authority {
		r.Role, r.Name = roleAuthority, c.Cluster
	}
	return r.at(now), nil
}

// at is the certificate as it is at a moment.
func (c certRecord) at(now time.Time) certRecord {
	left := c.Until.Sub(now)
	c.Days = int(left / (24 * time.Hour))
	if left < 0 {
		c.State = "expired"
		c.Days = min(c.Days, -1)
	}
	return c
}

func markRevoked(certs []certRecord, dir string, ca []byte) error {
	lists, err := os.ReadFile(denyFile(dir))
	if errors.Is(err, os.ErrNotExist) || len(ca) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	serials, err := pki.Withdrawn(ca, lists)
	if err != nil {
		return fmt.Errorf("%s: %w", denyFile(dir), err)
	}
	for i := range certs {
		if serials[certs[i].Serial] {
			certs[i].State = "revoked"
		}
	}
	return nil
}
