package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/load"
	"github.com/datanode/datanode/wire/client"
)

// product is a cell of one build, measured by the command line of another.
type product struct {
	build, client string
	addrs         []string
	nodes         processes
	o             options
}

func newProduct(ctx context.Context, dir, name, binary, measuring string, o options) (*product, error) {
	addrs, err := addresses(members)
	if err != nil {
		return nil, err
	}
	p := &product{build: name, client: measuring, addrs: addrs, o: o}
	var founders []string
	for i, addr := range addrs {
		founders = append(founders, fmt.Sprintf("n%d=%s", i+1, addr))
	}
	for i, addr := range addrs {
		id := fmt.Sprintf("n%d", i+1)
		cmd := exec.Command(binary, "serve", "--id", id, "--dir", filepath.Join(dir, id), "--listen", addr, "--bootstrap",
			strings.Join(founders, ","), "--log-level", "WARN")
		if err := p.nodes.start(filepath.Join(dir, id+".log"), cmd); err != nil {
			p.stop()
			return nil, err
		}
	}
	c := client.New(client.Options{Addrs: addrs, ConnectFor: startLimit, RetryFor: startLimit})
	defer c.Close()
	if _, err := c.Put(ctx, strings.NewReader("ready"), client.PutOptions{}); err != nil {
		p.stop()
		return nil, fmt.Errorf("the cell of %s does not start: %w", binary, err)
	}
	return p, nil
}

func (p *product) name() string { return "datanode " + p.build }
func (p *product) stop()        { p.nodes.stop() }

func (p *product) measure(ctx context.Context, j job) (load.Row, error) {
	each := (time.Duration(p.o.each) * time.Millisecond).String()
	var pids []string
	for _, pid := range p.nodes.pids() {
		pids = append(pids, strconv.Itoa(pid))
	}
	args := []string{"bench", j.op, "--addr", strings.Join(p.addrs, ","), "--size", strconv.Itoa(j.size), "--callers",
		strconv.Itoa(j.callers), "--each", each, "--pid", strings.Join(pids, ","), "-o", "json"}
	if j.op != "put" {
		args = append(args, "--objects", strconv.Itoa(j.objects))
	}
	if j.batch > 1 {
		args = append(args, "--batch", strconv.Itoa(j.batch))
	}
	out, err := exec.CommandContext(ctx, p.client, args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return load.Row{}, fmt.Errorf("%s %s: %w: %s", p.client, strings.Join(args, " "), err, exit.Stderr)
	}
	if err != nil {
		return load.Row{}, err
	}
	var rows []load.Row
	if err := json.Unmarshal(out, &rows); err != nil || len(rows) != 1 {
		return load.Row{}, fmt.Errorf("bench %s printed %d rows, want 1: %w", j.op, len(rows), err)
	}
	return rows[0], nil
}
