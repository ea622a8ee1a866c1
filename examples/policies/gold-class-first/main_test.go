package main

import (
	"context"
	"testing"

	"github.com/datanode/datanode/examples/policies/internal/exampletest"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
)

func TestPolicy(t *testing.T) { exampletest.Run(t) }

// Another class can be configured, and then gold is like any other.
func TestConfiguredClass(t *testing.T) {
	ctx := context.Background()
	host, err := plugins.New(ctx, plugins.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(ctx)
	module, err := host.CompileWith(ctx, exampletest.Build(t), map[string]string{"class": "silver"})
	if err != nil {
		t.Fatal(err)
	}
	defer module.Close(ctx)
	facts := make([]policies.Facts, 2)
	copy(facts[0].Class[:], "silver")
	copy(facts[1].Class[:], "gold")
	scores := make([]policies.Score, 2)
	if _, err := module.Score(ctx, facts, scores); err != nil {
		t.Fatal(err)
	}
	if scores[0].Priority != preferredBonus || scores[1].Priority != 0 {
		t.Errorf("silver %+v, gold %+v", scores[0], scores[1])
	}
}
