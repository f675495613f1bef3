package main

import (
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"linesplit/admin"
	"linesplit/internal/asynclog"
	"linesplit/relay"
)

// logPatience is how long the end waits for whoever reads the logs.
const logPatience = time.Second

// logs are what a run says: its log on standard error and, in connection mode and if asked for, the access log on standard output.
// Nobody waits for their readers.
type logs struct {
	*slog.Logger
	access relay.AccessLog // nil for none
	level  slog.LevelVar
	drain  atomic.Int64 // -drain-timeout, nanoseconds; read when it is needed

	err, out *asynclog.Writer // out is nil where access is
}

// newLogs starts what writes to both. The caller closes it.
func newLogs(cfg config, stdout, stderr io.Writer) *logs {
	l := &logs{err: asynclog.New(stderr)}
	l.level.Set(cfg.LogLevel)
	l.drain.Store(int64(cfg.DrainTimeout))
	l.Logger = newLogger(cfg.LogFormat, l.err, slog.HandlerOptions{Level: &l.level})
	if cfg.Mode == connectionMode && cfg.Forward.AccessLog != "off" {
		l.out = asynclog.New(stdout)
		l.access = accessLog(cfg.Forward.AccessLog, l.out)
	}
	return l
}

// silence is for a run that says nothing.
func silence() *logs { return &logs{Logger: slog.New(slog.DiscardHandler)} }

// drainTimeout is -drain-timeout as it is now.
func (l *logs) drainTimeout() time.Duration { return time.Duration(l.drain.Load()) }

// dropped counts the lines that nobody has read.
func (l *logs) dropped() []admin.LogDropped {
	var all []admin.LogDropped
	if l.err != nil {
		all = append(all, admin.LogDropped{Log: "log", Lines: l.err.Dropped()})
	}
	if l.out != nil {
		all = append(all, admin.LogDropped{Log: "access", Lines: l.out.Dropped()})
	}
	return all
}

// close says how many lines were dropped and lets the readers take the rest.
func (l *logs) close() {
	if l.out != nil {
		l.out.Close(logPatience)
	}
	for _, d := range l.dropped() {
		if d.Lines > 0 {
			l.Warn("lines of a log were dropped, since nobody read them in time", "log", d.Log, "lines", d.Lines)
		}
	}
	if l.err != nil {
		l.err.Close(logPatience)
	}
}

// newLogger writes text or json, with the same values in both.
func newLogger(format string, w io.Writer, o slog.HandlerOptions) *slog.Logger {
	if format != "json" {
		return slog.New(slog.NewTextHandler(w, &o))
	}
	replace := o.ReplaceAttr
	o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if replace != nil {
			a = replace(groups, a)
		}
		a.Value = legible(a.Value)
		return a
	}
	return slog.New(slog.NewJSONHandler(w, &o))
}

// legible returns what JSON would have as a number, or as the fields of a struct, as the word that it is in text: a duration is "8s", a
// signal "terminated", a target its address.
func legible(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindDuration:
		return slog.StringValue(v.Duration().String())
	case slog.KindAny:
		switch a := v.Any().(type) {
		case error, fmt.Stringer:
			return slog.StringValue(fmt.Sprint(a)) // which gets over a pointer that is nil, as text does
		}
	}
	return v
}

// accessLog returns what writes a line for each connection.
func accessLog(format string, w io.Writer) relay.AccessLog {
	// What is the same in every line is left out.
	o := slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey || a.Key == slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}}
	return recorder{newLogger(format, w, o)}
}

// recorder is an access log.
type recorder struct{ out *slog.Logger }

func (r recorder) Log(c relay.Record) {
	r.out.Info("", "client", c.Client, "listener", c.Listener, "target", c.Target, "bytes_in", c.BytesIn, "bytes_out", c.BytesOut,
		"seconds", c.Duration.Round(time.Microsecond).Seconds(), "dials", c.Dials, "end", c.End)
}
