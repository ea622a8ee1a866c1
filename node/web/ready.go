package web

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/datanode/datanode/node/health"
)

// serveReady answers 200 when all checks but advisory ones are good; ?verbose names each.
func serveReady(checks func(context.Context) []health.Check, logger *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), health.Limit)
		defer cancel()
		found := checks(ctx)
		status := http.StatusOK
		if !health.Ready(found) {
			status = http.StatusServiceUnavailable
		}
		w.WriteHeader(status)
		if !r.URL.Query().Has("verbose") {
			fmt.Fprintln(w, http.StatusText(status))
			return
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(found); err != nil {
			logger.Debug("readiness not delivered", "error", err)
		}
	}
}
