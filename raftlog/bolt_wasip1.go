//go:build wasip1

package raftlog

import (
	"errors"

	"github.com/hashicorp/go-hclog"
)

// diskStores is not to be had here.
func diskStores(string, hclog.Logger) (*Stores, error) {
	return nil, errors.New("this platform has no disk stores; set Config.Stores")
}
