package web

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/pki"
)

// maxProfile bounds how long a profile or a trace may take.
const maxProfile = 5 * time.Minute

// guard decides who is served what over HTTP.
type guard struct {
	next    http.Handler
	source  *pki.Source // nil: plaintext
	local   bool        // it listens on this machine only
	names   []string    // that requests may be for, besides addresses; in lower case
	refused func(refusal)
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	why, status, text := g.judge(r)
	if status == 0 {
		g.next.ServeHTTP(w, r)
		return
	}
	g.refused(why)
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD")
	}
	w.Header().Set("Connection", "close") // whoever asks like that has no need of it
	http.Error(w, text, status)
}

// judge says why a request is refused; a status of 0 if it is not.
func (g *guard) judge(r *http.Request) (why refusal, status int, text string) {
	profile := strings.HasPrefix(r.URL.Path, "/debug/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return refusedMethod, http.StatusMethodNotAllowed, "want GET or HEAD"
	case !g.forUs(r.Host):
		// A page of somebody else whose name was made to lead here would otherwise read all of this in its
		// visitor's name.
		return refusedHost, http.StatusMisdirectedRequest, fmt.Sprintf("this node does not go by the name %q; "+
			"ask it by its address, or start it with --http-host and that name", hostOf(r.Host))
	case profile && r.Header.Get("Sec-Fetch-Site") == "cross-site":
		return refusedCrossSite, http.StatusForbidden, "profiles are not for other sites' pages"
	case profile && tooLong(r):
		return refusedMethod, http.StatusBadRequest, fmt.Sprintf("want at most %d seconds", int(maxProfile.Seconds()))
	case g.source == nil:
		return "", 0, ""
	}
	return g.judgeCertificate(r, profile)
}

// judgeCertificate reports whether the caller's certificate is good for a request. Those who look whether a node lives
// and is ready, load balancers and supervisors, have none, and learn nothing else.
func (g *guard) judgeCertificate(r *http.Request, profile bool) (why refusal, status int, text string) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		if r.URL.Path == "/livez" || r.URL.Path == "/readyz" && !r.URL.Query().Has("verbose") {
			return "", 0, ""
		}
		return refusedCertificate, http.StatusUnauthorized, "show a certificate of this cell, of any role; " +
			"without one there are /livez and /readyz"
	}
	// It was good in the handshake, and connections are kept.
	if err := g.source.JudgeState(r.TLS); err != nil {
		return refusedCertificate, http.StatusForbidden, err.Error()
	}
	who, err := pki.PeerOf(r.TLS)
	if err != nil {
		return refusedCertificate, http.StatusForbidden, err.Error()
	}
	if profile && who.Role == pki.RoleClient {
		return refusedCertificate, http.StatusForbidden, fmt.Sprintf("%s may not take profiles; it needs a "+
			"certificate with the role %s",
			who, pki.RoleAdmin)
	}
	return "", 0, ""
}

// forUs reports whether a request that names this host may be served. Only names are dangerous: what leads to an
// address is up to whoever has the name. A request without one is no browser's.
func (g *guard) forUs(hostport string) bool {
	host := hostOf(hostport)
	if ip := net.ParseIP(host); ip != nil {
		return !ip.IsUnspecified() && (!g.local || ip.IsLoopback())
	}
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	for _, name := range g.names {
		if name == host {
			return true
		}
	}
	return false
}

// hostOf is the host of a Host header, in lower case.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func tooLong(r *http.Request) bool {
	text := r.FormValue("seconds")
	seconds, err := strconv.ParseFloat(text, 64)
	return text != "" && (err != nil || !(seconds <= maxProfile.Seconds()))
}

// namesOf are the names that this node goes by: those that it was given, and, if others reach it, those that they dial
// it by.
func namesOf(o *Options) []string {
	names := o.Hosts
	if !o.Local {
		names = append([]string{hostOf(o.Addr), hostOf(o.Advertise)}, names...)
		if here, err := os.Hostname(); err == nil {
			names = append(names, here)
		}
		if o.Identity != nil {
			names = append(names, o.Identity.Hosts()...)
		}
	}
	var all []string
	for _, name := range names {
		if name = strings.ToLower(strings.TrimSuffix(name, ".")); name != "" {
			all = append(all, name)
		}
	}
	return all
}
