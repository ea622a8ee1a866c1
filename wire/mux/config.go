package mux

import (
	"context"
	"log/slog"
	"time"

	"github.com/datanode/datanode/wire"
)

// DefaultWindowBytes is what Config.WindowBytes is if it is not said.
const DefaultWindowBytes = 1 << 20

const (
	defaultHelloTimeout    = 5 * time.Second
	defaultPingEvery       = 5 * time.Second
	defaultPingTimeout     = 15 * time.Second
	defaultMaxInFlight     = 4096
	defaultSessionWindows  = 8 // session window, in windows of a call
	defaultMaxRequestBytes = 64 << 20
)

// Config says how a Conn behaves. The zero value works for a client of any cell.
type Config struct {
	Hello      wire.Hello // Cell, Node, Incarnation and Features; the rest is filled in
	ExpectCell string     // refuse a peer of another cell; empty: any
	ExpectNode string     // refuse a peer that is another node; empty: any
	Identity   string     // who the peer has proven to be; handlers are told. Not looked at here
	Handler    Handler    // serves calls; needed on the accepting side only
	Logger     *slog.Logger
	Clock      Clock

	HelloTimeout time.Duration // 0: 5 s
	PingEvery    time.Duration // 0: 5 s; negative: never
	PingTimeout  time.Duration // 0: 15 s; a peer that takes longer to answer is dead
	// Silence is how long nothing at all may arrive on a connection between two nodes; 0: however long. Pings
	// are sent often enough within it. Both sides should have the same.
	Silence time.Duration

	MaxInFlight        int // calls at once; 0: 4096. The peer learns it and keeps to it.
	MaxFrameBytes      int // largest frame accepted; 0: wire.DefaultMaxFrameBytes
	WindowBytes        int // received chunks held for each call; 0: 1 MiB
	SessionWindowBytes int // received chunks held for each session; 0: 8 windows
	MaxRequestBytes    int // requests held, all together; 0: 64 MiB

	// Share bounds what this connection holds for its peer, together with others. It is for the accepting
	// side; nil: nothing but the bounds above.
	Share *Share

	OnMismatch func(Mismatch) // called once, before the connection's calls fail; may be nil
}

// Handler serves the calls of a peer.
type Handler interface {
	// ServeCall answers c with Reply or Fail; a call left without an answer fails. It runs on its own
	// goroutine. ctx ends when the caller cancels, its deadline passes or the connection breaks. c
	// and all it gave out may not be used after ServeCall returns.
	ServeCall(ctx context.Context, c *ServerCall)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, c *ServerCall)

// ServeCall calls f.
func (f HandlerFunc) ServeCall(ctx context.Context, c *ServerCall) { f(ctx, c) }

// Clock is where time comes from. The zero value is real time.
type Clock struct {
	Now func() time.Time
	// AfterFunc runs f on its own goroutine after d, unless stopped before.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

func (c Clock) orReal() Clock {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.AfterFunc == nil {
		c.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	return c
}

func (cfg Config) withDefaults() Config {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Clock = cfg.Clock.orReal()
	setDefault(&cfg.HelloTimeout, defaultHelloTimeout)
	setDefault(&cfg.PingEvery, defaultPingEvery)
	setDefault(&cfg.PingTimeout, defaultPingTimeout)
	setDefault(&cfg.MaxInFlight, defaultMaxInFlight)
	setDefault(&cfg.MaxFrameBytes, wire.DefaultMaxFrameBytes)
	setDefault(&cfg.WindowBytes, DefaultWindowBytes)
	setDefault(&cfg.SessionWindowBytes, defaultSessionWindows*cfg.WindowBytes)
	setDefault(&cfg.MaxRequestBytes, defaultMaxRequestBytes)
	h := &cfg.Hello
	h.Magic = wire.Magic
	h.Features |= wire.FeatureChunkOffset | wire.FeatureOnBehalf | wire.FeatureAppendStream
	setDefault(&h.MinVersion, wire.MinVersion)
	setDefault(&h.MaxVersion, wire.Version)
	h.MaxFrameBytes = uint32(cfg.MaxFrameBytes)
	h.WindowBytes = uint32(cfg.WindowBytes)
	h.SessionWindowBytes = uint32(cfg.SessionWindowBytes)
	h.MaxInFlight = uint32(cfg.MaxInFlight)
	return cfg
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
