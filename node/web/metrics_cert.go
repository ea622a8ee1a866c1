package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/pki"
)

// certMetrics are about certificates, this node's own and those of its peers.
type certMetrics struct{ notAfter, rejected, denied *prometheus.Desc }

// httpMetrics are about the listener that they are read from.
type httpMetrics struct{ conns, refused *prometheus.Desc }

func newHTTPMetrics() httpMetrics {
	return httpMetrics{
		conns: prometheus.NewDesc("datanode_http_connections", "Open connections of HTTP.", nil, nil),
		refused: prometheus.NewDesc("datanode_http_refused_total",
			"Connections and requests of HTTP that were refused, by reason.", []string{"reason"}, nil),
	}
}

func (m *httpMetrics) describe(ch chan<- *prometheus.Desc) {
	ch <- m.conns
	ch <- m.refused
}

func (m *httpMetrics) collect(d *door, ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(m.conns, prometheus.GaugeValue, float64(d.count()))
	for why, n := range d.refused {
		ch <- prometheus.MustNewConstMetric(m.refused, prometheus.CounterValue, float64(n.Load()), string(why))
	}
}

func newCertMetrics() certMetrics {
	return certMetrics{
		notAfter: prometheus.NewDesc("datanode_certificate_not_after_timestamp_seconds",
			"When this node's certificate ends, in seconds since 1970. Only with TLS.", nil, nil),
		rejected: prometheus.NewDesc("datanode_certificates_unfit_total",
			"Connections refused in the handshake, or ended while open, for a certificate that was good once, by what "+
				"became of it.",
			[]string{"reason", "where"}, nil),
		denied: prometheus.NewDesc("datanode_certificates_denied",
			"Certificates that the deny list in force has. Only with TLS.", nil, nil),
	}
}

func (m *certMetrics) describe(ch chan<- *prometheus.Desc) {
	ch <- m.notAfter
	ch <- m.rejected
	ch <- m.denied
}

func (m *certMetrics) collect(t *transport.Transport, source *pki.Source, ch chan<- prometheus.Metric) {
	for u, n := range t.RejectedCerts() {
		ch <- prometheus.MustNewConstMetric(m.rejected, prometheus.CounterValue, float64(n), string(u.Why), u.Where)
	}
	if source == nil {
		return
	}
	certs, _, _ := source.Deny()
	ch <- prometheus.MustNewConstMetric(m.notAfter, prometheus.GaugeValue, float64(source.Until().Unix()))
	ch <- prometheus.MustNewConstMetric(m.denied, prometheus.GaugeValue, float64(certs))
}
