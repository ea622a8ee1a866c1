package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/pki"
	"github.com/spf13/cobra"
)

// denyFile is the list of what the authority in a folder has withdrawn.
func denyFile(dir string) string { return filepath.Join(dir, "revoked.pem") }

// issuedFile remembers what the authority in a folder has signed: an object of JSON a line.
func issuedFile(dir string) string { return filepath.Join(dir, "issued.jsonl") }

// certRecord is a certificate as cert ls shows it, and, as far as it does not change, as issuedFile keeps it.
type certRecord struct {
	Role   string    `json:"role"`
	Name   string    `json:"name"`
	Serial string    `json:"serial"`
	Until  time.Time `json:"until"`
	Days   int       `json:"days"`           // left; below 0 when it has ended
	State  string    `json:"state"`          // valid, replaced, expired, revoked or unreadable
	File   string    `json:"file,omitempty"` // empty: it was replaced since, or lost
}

// stem is what the names of its files begin with.
func (r certRecord) stem() string { return r.Role + "-" + r.Name }

func newCertRevokeCommand(a app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "revoke NAME|FILE|SERIAL...", Short: "Withdraw certificates", Args: cli.Takes(1, -1),
		Example: "  datanode cert revoke client/bob\n  datanode cert revoke n3 4fd1c2a09be0",
		Long: `Withdraw certificates: their holders are shut out of the cell, also from connections that are open.

NAME is that of a client, an admin or a node, with its role where it is not the only one (client/bob), and stands for
all certificates that this folder has ever made for it, renewed ones too. FILE and SERIAL (see cert ls) are one
certificate.

What is withdrawn is written to revoked.pem in the folder, a standard deny list (CRL) that the authority signs. Copy it
to where the nodes' --tls-crl names it: they take it up within seconds, without a restart.`,
		RunE: func(_ *cobra.Command, args []string) error { return a.certRevoke(dir, args) },
	}
	cmd.Flags().StringVar(&dir, "dir", defaultCertDir, "folder of the certificates")
	return cmd
}

func (a app) certRevoke(dir string, names []string) error {
	ca, err := readAuthority(dir)
	if err != nil {
		return err
	}
	known, err := listCerts(dir)
	if err != nil {
		return err
	}
	var found []certRecord
	for _, name := range names { // all are looked up before anything is done
		certs, err := findCerts(ca, known, dir, name)
		if err != nil {
			return err
		}
		found = append(found, certs...)
	}
	var serials []*big.Int
	for i := range found {
		serial, err := pki.ParseSerial(found[i].Serial)
		if err != nil {
			return fmt.Errorf("%s: %w", issuedFile(dir), err)
		}
		serials = append(serials, serial)
		found[i].State = "revoked"
	}
	added, err := withdraw(ca, dir, serials)
	if err != nil {
		return err
	}
	if len(added) == 0 {
		a.Note("datanode: revoked before: nothing has changed")
	}
	if err := printCerts(a, found); err != nil {
		return err
	}
	a.Note("copy %s to where each node's --tls-crl names it; a node takes it up within seconds", denyFile(dir))
	return nil
}

// findCerts are the certificates that a name on the command line stands for.
func findCerts(ca *pki.Authority, known []certRecord, dir, name string) ([]certRecord, error) {
	var found []certRecord
	roles := map[string]bool{}
	for _, c := range known {
		names := []string{c.Name, c.Role + "/" + c.Name, c.stem(), c.Role + " " + c.Name}
		if c.Role != roleAuthority && slices.Contains(names, name) {
			found = append(found, c)
			roles[c.Role+"/"+c.Name] = true
		}
	}
	switch {
	case len(roles) > 1:
		return nil, exit.Usagef("%s is the name of several: say %s", name, strings.Join(sortedKeys(roles), " or "))
	case len(found) > 0:
		return found, nil
	}
	text, err := os.ReadFile(name)
	if err == nil {
		record, err := readCert(name, text, time.Now())
		if err == nil {
			err = ca.Signed(text)
		}
		if err != nil {
			return nil, exit.With(exit.Refused, "%s: %w", name, err)
		}
		if record.Role == roleAuthority {
			return nil, exit.With(exit.Refused, "%s is the authority itself: change it, see docs/security.md", name)
		}
		return []certRecord{record}, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, exit.File(err)
	}
	serial, err := pki.ParseSerial(name)
	if err == nil {
		want := pki.SerialText(serial)
		for _, c := range known {
			if c.Serial == want && c.Role != roleAuthority {
				return []certRecord{c}, nil
			}
		}
		// Made somewhere else. A name may be all of hexadecimal digits too, and was perhaps mistyped.
		if len(want) >= foreignSerialDigits || strings.ContainsAny(name, "xX:") {
			return []certRecord{{Serial: want}}, nil
		}
	}
	return nil, exit.With(exit.NotFound,
		"%s is neither the name nor the serial number of a certificate in %s, nor a file; "+
			"see datanode cert ls%s", name, dir, dirFlag(dir))
}

// foreignSerialDigits is how long a serial number is that nobody takes for a name. A shorter one is to begin with 0x.
const foreignSerialDigits = 16

func sortedKeys(m map[string]bool) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// withdraw adds to the deny list of a folder. It answers those that were not on it.
func withdraw(ca *pki.Authority, dir string, serials []*big.Int) (added []*big.Int, err error) {
	name := denyFile(dir)
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	text, added, err := ca.Withdraw(old, serials, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w; put the last good one back first: "+
			"without it what it has would not be revoked any more", name, err)
	}
	if len(added) == 0 && len(old) > 0 {
		return nil, nil
	}
	return added, writeSecret(name, text)
}

// remember notes that a certificate is made, and, the first time, what it takes the place of.
func remember(dir, stem string, cert []byte) error {
	known, err := readIssued(dir)
	if err != nil {
		return err
	}
	var lines []byte
	name, _ := pairFiles(dir, stem)
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, text := range [][]byte{old, cert} {
		if len(text) == 0 {
			continue
		}
		record, err := readCert(name, text, time.Now())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if slices.ContainsFunc(known, func(c certRecord) bool { return c.Serial == record.Serial }) {
			continue
		}
		line, err := json.Marshal(struct {
			Role   string    `json:"role"`
			Name   string    `json:"name"`
			Serial string    `json:"serial"`
			Until  time.Time `json:"until"`
		}{record.Role, record.Name, record.Serial, record.Until})
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	return appendSynced(issuedFile(dir), lines)
}

func appendSynced(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// readIssued reads what remember has written. A folder of an older build has no such file.
func readIssued(dir string) ([]certRecord, error) {
	text, err := os.ReadFile(issuedFile(dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var all []certRecord
	for i, line := range bytes.Split(text, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var c certRecord
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w; mend or remove that line", issuedFile(dir), i+1, err)
		}
		all = append(all, c)
	}
	return all, nil
}
