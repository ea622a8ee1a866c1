package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readyLimit bounds one readiness check.
const readyLimit = 3 * time.Second

const (
	httpHeaderBytes = 16 << 10
	httpReadLimit   = 10 * time.Second // a request, which has no body
	httpWriteLimit  = 30 * time.Second // an answer; profiles add what they take
	httpIdleLimit   = time.Minute
)

// openHTTP serves health, metrics and profiles, if the node is told where.
func (n *Node) openHTTP() error {
	if n.cfg.HTTP == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(n.ctx, "tcp", n.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("cannot serve HTTP on %s: %w; choose another --http", n.cfg.HTTP, err)
	}
	n.httpAddr = l.Addr().String()
	n.httpDoor = newHTTPDoor(l)
	local := loopback(n.cfg.HTTP)
	guard := &httpGuard{next: n.httpRoutes(local), local: local, names: n.httpNames(local),
		refused: func(why httpRefusal) { n.httpDoor.refused[why].Add(1) }}
	l = n.httpDoor
	if source := n.transport.Source(); source != nil && !n.cfg.HTTPPlain {
		guard.source = source
		l = tls.NewListener(l, source.HTTPConfig())
	}
	n.warnOfHTTP(local, guard.source != nil)
	n.httpd = &http.Server{
		Handler: guard, ConnState: n.httpDoor.state, MaxHeaderBytes: httpHeaderBytes, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: n.time.firstByte, ReadTimeout: httpReadLimit, WriteTimeout: httpWriteLimit, IdleTimeout: httpIdleLimit,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2: one request at a time is enough
		ErrorLog:     slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug),   // what strangers do, one line for each
	}
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		if err := n.httpd.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.logger.Error("HTTP ends", "error", err)
		}
	}()
	return nil
}

func (n *Node) httpRoutes(local bool) http.Handler {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(newCollector(n))
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", n.serveReady)
	mux.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	if local {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// warnOfHTTP says who reaches HTTP, where that is not this machine alone.
func (n *Node) warnOfHTTP(local, secure bool) {
	switch {
	case local:
	case secure:
		n.logger.Warn("HTTP listens beyond this machine: without a certificate it tells whether this node lives and is ready",
			"http", n.httpAddr)
	default:
		n.logger.Warn("HTTP listens beyond this machine, in plaintext: anyone who reaches it can read health and metrics",
			"http", n.httpAddr)
	}
}

// HTTPURL is where health and metrics are, empty if nowhere.
func (n *Node) HTTPURL() string {
	switch {
	case n.httpAddr == "":
		return ""
	case n.transport.Source() != nil && !n.cfg.HTTPPlain:
		return "https://" + n.httpAddr
	}
	return "http://" + n.httpAddr
}

// httpGrace is how long a stopping node lets HTTP requests end.
const httpGrace = time.Second

func (n *Node) closeHTTP() {
	if n.httpd == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
	defer cancel()
	if n.httpd.Shutdown(ctx) != nil {
		n.httpd.Close()
	}
}

// check is one condition of readiness.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	// Advisory: the node is ready also when it is not OK.
	Advisory bool `json:"advisory,omitempty"`
	// Level is OK, WARN or ERR. Empty until all checks are made: see level.
	Level string `json:"level"`
}

func (n *Node) checks(ctx context.Context) []check {
	say := func(name string, err error) check {
		if err != nil {
			return check{Name: name, Detail: err.Error()}
		}
		return check{Name: name, OK: true}
	}
	var leader error
	if id, _ := n.log.Leader(); id == "" {
		leader = errors.New("no leader is known")
	}
	var caughtUp error
	if !n.ready.Load() {
		caughtUp = errors.New("catching up with the log")
	}
	checks := []check{
		say("leader", leader),
		say("consistent-read", n.catchUp(ctx)),
		say("caught-up", caughtUp),
		say("store", n.store.Failed()),
		say("disk-answers", n.hangs()),
		say("log", n.log.Err()),
		n.roomCheck(),
	}
	checks = append(checks, n.certChecks()...)
	for i := range checks {
		checks[i].Level = checks[i].level()
	}
	return checks
}

// roomCheck says why this node takes nothing more. It does not make the node unready: one whose disk is full reads and
// deletes as before.
func (n *Node) roomCheck() check {
	c := check{Name: "room", OK: true, Advisory: true}
	if why := n.disk.Status().Refuses; why != "" {
		c.OK, c.Detail = false, "takes no replicas and no appends: "+why
	}
	return c
}

// serveReady answers 200 when a leader is known, a consistent read works and the node serves;
// ?verbose names each check.
func (n *Node) serveReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyLimit)
	defer cancel()
	checks := n.checks(ctx)
	status := http.StatusOK
	for _, c := range checks {
		if !c.OK && !c.Advisory {
			status = http.StatusServiceUnavailable
		}
	}
	w.WriteHeader(status)
	if !r.URL.Query().Has("verbose") {
		fmt.Fprintln(w, http.StatusText(status))
		return
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(checks); err != nil {
		n.logger.Debug("readiness not delivered", "error", err)
	}
}
