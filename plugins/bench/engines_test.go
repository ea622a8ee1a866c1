package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"cel.dev/cel-go/cel"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/policies"
)

// scorer answers the priorities of facts.
type scorer func(ctx context.Context, facts []policies.Facts, out []int32) error

// engine makes a scorer of the one rule.
type engine struct {
	name string
	make func(tb testing.TB) scorer
}

func engines() []engine {
	return []engine{
		{"native", func(testing.TB) scorer { return ofPolicy(policies.Native()) }},
		{"wasm-c", func(tb testing.TB) scorer { return ofPolicy(module(tb, plugins.Default())) }},
		{"wasm-go", func(tb testing.TB) scorer { return ofPolicy(module(tb, goGuest(tb))) }},
		{"cel", celScorer},
		{"rego", regoScorer},
	}
}

// ofPolicy asks a policy as a node does: a batch at a time.
func ofPolicy(p policies.Policy) scorer {
	var scores []policies.Score
	return func(ctx context.Context, facts []policies.Facts, out []int32) error {
		scores = append(scores[:0], make([]policies.Score, len(facts))...)
		if _, err := p.Score(ctx, facts, scores); err != nil {
			return err
		}
		for i := range scores {
			out[i] = scores[i].Priority
		}
		return nil
	}
}

func module(tb testing.TB, wasm []byte) *plugins.Module {
	ctx := context.Background()
	host, err := plugins.New(ctx, plugins.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	m, err := host.Compile(ctx, wasm)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		m.Close(ctx)
		host.Close(ctx)
	})
	return m
}

func goGuest(tb testing.TB) []byte {
	out := filepath.Join(tb.TempDir(), "guest.wasm")
	if err := build.Policy(context.Background(), "guest", out, build.Options{}); err != nil {
		tb.Fatal(err)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}

var (
	//go:embed rule.cel
	celRule string
	//go:embed rule.rego
	regoRule string
)

// input is the facts that the rule looks at.
func input(f *policies.Facts) map[string]any {
	return map[string]any{
		"kind": int64(f.Kind), "origin": int64(f.Origin), "live": int64(f.LiveReplicas), "want": int64(f.WantReplicas),
		"waiting": f.WaitingMicros, "attempts": int64(f.Attempts),
	}
}

func celScorer(tb testing.TB) scorer {
	var options []cel.EnvOption
	for name := range input(&policies.Facts{}) {
		options = append(options, cel.Variable(name, cel.IntType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		tb.Fatal(err)
	}
	ast, issues := env.Compile(celRule)
	if issues.Err() != nil {
		tb.Fatal(issues.Err())
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		tb.Fatal(err)
	}
	return func(_ context.Context, facts []policies.Facts, out []int32) error {
		for i := range facts {
			answer, _, err := program.Eval(input(&facts[i]))
			if err != nil {
				return err
			}
			priority, ok := answer.Value().(int64)
			if !ok {
				return fmt.Errorf("CEL answers %v", answer)
			}
			out[i] = int32(priority)
		}
		return nil
	}
}

func regoScorer(tb testing.TB) scorer {
	query, err := rego.New(rego.Query("data.rule.score"),
		rego.Module("rule.rego", regoRule)).PrepareForEval(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return func(ctx context.Context, facts []policies.Facts, out []int32) error {
		for i := range facts {
			answer, err := query.Eval(ctx, rego.EvalInput(input(&facts[i])))
			if err != nil {
				return err
			}
			number, ok := answer[0].Expressions[0].Value.(json.Number)
			if !ok {
				return fmt.Errorf("Rego answers %v", answer)
			}
			priority, err := strconv.ParseInt(number.String(), 10, 32)
			if err != nil {
				return err
			}
			out[i] = int32(priority)
		}
		return nil
	}
}
