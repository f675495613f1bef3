package admin

import (
	"fmt"
	"log/slog"
	"strings"

	"linesplit/internal/loglimit"
)

// scrapeLog logs failures to gather metrics, in sum. It implements promhttp.Logger. promhttp
// reports one failure for each metric of each scrape.
type scrapeLog struct {
	logger  *slog.Logger
	limiter loglimit.Limiter
}

// Println implements promhttp.Logger.
func (l *scrapeLog) Println(v ...any) {
	l.limiter.Warn(l.logger, "metrics not served", slog.String("err", strings.TrimSpace(fmt.Sprintln(v...))))
}
