// Package web serves a node's health, metrics and profiles over HTTP, to load balancers, supervisors and Prometheus.
//
// Connections pass the door, which bounds them, and requests the guard, which decides who is served what; behind it
// are /livez, /readyz, /metrics, and on this machine alone /debug/pprof. Everything is made at the moment it is asked
// for, from what the node knows anyway.
//
// A Server has one goroutine that accepts, and net/http one for each connection; Close waits for the first and gives
// the others a moment. The door has a lock, under which nothing blocks.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/datanode/datanode/node/health"
	"github.com/datanode/datanode/pki"
)

const (
	headerBytes = 16 << 10
	readLimit   = 10 * time.Second // a request, which has no body
	writeLimit  = 30 * time.Second // an answer; profiles add what they take
	idleLimit   = time.Minute
	// closeGrace is how long Close lets requests end.
	closeGrace = time.Second
)

// Options say where HTTP is served and what it answers. Addr, Logger, Checks and Metrics must be set.
type Options struct {
	Addr      string   // where to listen
	Local     bool     // it is reached from this machine only: profiles are served, too
	Hosts     []string // names that requests may be for, besides those that the node is dialed by
	Advertise string   // what other nodes dial
	// Identity is this node's certificate; nil: it has none. Plain has HTTP be plaintext all the same.
	Identity  *pki.Source
	Plain     bool
	FirstByte time.Duration // from accept until the head of a request has come
	Logger    *slog.Logger

	// Checks are the conditions of readiness. It may be called from any goroutine, and waits no longer than ctx.
	Checks  func(ctx context.Context) []health.Check
	Metrics MetricsOptions
}

// Server is a node's HTTP. A nil one serves nothing, and has no address.
type Server struct {
	addr   string
	secure bool
	door   *door
	http   *http.Server
	ended  chan struct{} // closed when nothing is accepted any more
}

// Open listens, and serves until Close. The error is for the person who started the node.
func Open(ctx context.Context, o Options) (*Server, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("cannot serve HTTP on %s: %w; choose another --http", o.Addr, err)
	}
	s := &Server{addr: l.Addr().String(), door: newDoor(l), ended: make(chan struct{})}
	g := &guard{next: s.routes(&o), local: o.Local, names: namesOf(&o), refused: s.door.refuse}
	l = s.door
	if s.secure = o.Identity != nil && !o.Plain; s.secure {
		g.source = o.Identity
		l = tls.NewListener(l, o.Identity.HTTPConfig())
	}
	s.warn(&o)
	s.http = &http.Server{
		Handler: g, ConnState: s.door.state, MaxHeaderBytes: headerBytes, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: o.FirstByte, ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit,
		// no HTTP/2: one request at a time is enough
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:     slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug), // what strangers do, one line for each
	}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("HTTP ends", "error", err)
		}
	}()
	return s, nil
}

func (s *Server) routes(o *Options) http.Handler {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(newCollector(o.Metrics, o.Identity, s.door))
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", serveReady(o.Checks, o.Logger))
	mux.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	if o.Local {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// warn says who reaches HTTP, where that is not this machine alone.
func (s *Server) warn(o *Options) {
	switch {
	case o.Local:
	case s.secure:
		o.Logger.Warn("HTTP listens beyond this machine: without a certificate it tells whether this node lives and is ready",
			"http", s.addr)
	default:
		o.Logger.Warn("HTTP listens beyond this machine, in plaintext: anyone who reaches it can read health and metrics",
			"http", s.addr)
	}
}

// Addr is where it listens, empty if nowhere.
func (s *Server) Addr() string {
	if s == nil {
		return ""
	}
	return s.addr
}

// URL is where it is reached, empty if nowhere.
func (s *Server) URL() string {
	switch {
	case s == nil:
		return ""
	case s.secure:
		return "https://" + s.addr
	}
	return "http://" + s.addr
}

// Close lets requests end for a moment, and then cuts them off.
func (s *Server) Close() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	<-s.ended
}
