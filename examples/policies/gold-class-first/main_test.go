package main

import (
	"testing"

	"github.com/datanode/datanode/examples/policies/internal/exampletest"
)

func TestPolicy(t *testing.T) { exampletest.Run(t) }
