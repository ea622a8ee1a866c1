package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// maxCompilers work on one module at once, in the child process.
const maxCompilers = 4

// engine is one compiled module in a runtime of its own, with the functions it may call linked in. A
// runtime costs 0.4 ms, and for that each module has its own folder of the cache, which is checked
// and dropped alone, and leaves nothing behind in a runtime that goes on.
type engine struct {
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
}

// compile compiles code to machine code, or takes it from the folder dir if that is not empty and has
// it. Code must have passed the scan: the compiler believes what it is given.
func (h *Host) compile(ctx context.Context, code []byte, dir string) (*engine, error) {
	cache := wazero.NewCompilationCache()
	if dir != "" {
		var err error
		if cache, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
			return nil, fmt.Errorf("plugins: cache: %w", err)
		}
	}
	if h.opts.alone {
		ctx = experimental.WithCompilationWorkers(ctx, min(runtime.GOMAXPROCS(0), maxCompilers))
	}
	return h.load(ctx, wazero.NewRuntimeConfigCompiler().WithCompilationCache(cache), cache, code)
}

// interpret prepares code for the interpreter.
func (h *Host) interpret(ctx context.Context, code []byte) (*engine, error) {
	cache := wazero.NewCompilationCache()
	return h.load(ctx, wazero.NewRuntimeConfigInterpreter().WithCompilationCache(cache), cache, code)
}

func (h *Host) load(ctx context.Context, config wazero.RuntimeConfig, cache wazero.CompilationCache,
	code []byte) (e *engine, err error) {
	made := &engine{cache: cache, runtime: wazero.NewRuntimeWithConfig(ctx, config.
		WithCoreFeatures(api.CoreFeaturesV2.SetEnabled(api.CoreFeatureSIMD, false)).
		WithMemoryLimitPages(h.opts.MemoryPages).
		WithDebugInfoEnabled(false))}
	defer func() {
		// A module that the compiler cannot take is refused, whatever the compiler's part in it.
		if r := recover(); r != nil {
			err = refuse(CompilerCrashed, "the compiler gave up: %s", firstLine(fmt.Errorf("%v", r)))
		}
		if err != nil {
			_ = made.close(context.WithoutCancel(ctx)) // err says more
		}
	}()
	if err := link(ctx, made.runtime); err != nil {
		return nil, fmt.Errorf("plugins: %w", err)
	}
	if made.compiled, err = made.runtime.CompileModule(ctx, code); err != nil {
		if isOfFiles(err) {
			return nil, fmt.Errorf("plugins: cache: %w", err)
		}
		return nil, refuse(NotCompiled, "the compiler says: %s", firstLine(err))
	}
	return made, nil
}

// isOfFiles reports whether a compilation failed for the folder of the cache and not for the module: wazero 1.12.0
// compiles a module and then returns an error all the same if it cannot keep the code, as on a full disk.
func isOfFiles(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}

// close frees all of it. Nothing may run in it.
func (e *engine) close(ctx context.Context) error {
	err := e.runtime.Close(ctx)
	if cerr := e.cache.Close(ctx); err == nil {
		err = cerr
	}
	return err
}
