package acked

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"linesplit/internal/deadletter"
	"linesplit/internal/loglimit"
	"linesplit/target"
)

// Rejects keeps the lines that targets have refused for good. It is safe for concurrent use.
type Rejects struct {
	file   *deadletter.File // nil: there is none
	logger *slog.Logger

	refused, blocked, waits loglimit.Limiter

	mu      sync.Mutex           // guards the field below
	doubted map[string]time.Time // by target, since when it has refused lines and taken none; zero: it has taken some
}

// maxDoubted limits the targets of which it is known whether they have taken lines.
const maxDoubted = 10_000

// doubtFor is how long a target is doubted that refuses lines and has taken none.
const doubtFor = time.Minute

// noteTaken notes that a target has taken lines.
func (r *Rejects) noteTaken(a target.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noteLocked(a.Key(), time.Time{})
}

func (r *Rejects) noteLocked(target string, since time.Time) {
	if _, known := r.doubted[target]; !known && len(r.doubted) >= maxDoubted {
		clear(r.doubted) // targets come and go
	}
	r.doubted[target] = since
}

// doubt returns an error if a target has refused lines, of as many that it was sent, and has never
// taken any: then the fault may be in the address, and not in the lines.
func (r *Rejects) doubt(a target.Address, refused []Refused, of int) error {
	if len(refused) < min(doubtAfter, of) || !r.doubts(a) {
		return nil
	}
	return fmt.Errorf("the server has taken no line yet, and refuses all: %s (is the address right?)",
		refused[len(refused)-1].Answer)
}

// doubtAfter is how many lines a server may refuse before it has taken any.
const doubtAfter = 8

// doubts reports whether a target that refuses lines is doubted.
func (r *Rejects) doubts(a target.Address) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	since, known := r.doubted[a.Key()]
	if !known {
		since = time.Now()
		r.noteLocked(a.Key(), since)
	}
	return !since.IsZero() && time.Since(since) < doubtFor
}

// NewRejects returns one that writes lines to file, which may be nil.
func NewRejects(file *deadletter.File, logger *slog.Logger) *Rejects {
	return &Rejects{file: file, logger: logger, doubted: map[string]time.Time{}}
}

// FlushLog logs what the log has held back to report it in sum.
func (r *Rejects) FlushLog() {
	for _, l := range []*loglimit.Limiter{&r.refused, &r.blocked, &r.waits} {
		l.Flush()
	}
}

// keep writes refused lines to the file, if there is one and the address does not say drop. While
// the disk refuses them, it tries again until ctx ends.
func (r *Rejects) keep(ctx context.Context, a target.Address, refused []Refused) error {
	kept := 0
	for r.file != nil && a.Batching.Reject != target.RejectDrop && kept < len(refused) {
		n, err := r.file.Append(a.String(), letters(refused[kept:]))
		kept += n
		if errors.Is(err, deadletter.ErrFull) {
			break
		}
		if err == nil {
			continue
		}
		r.blocked.Warn(r.logger, "cannot write to the dead-letter file", slog.Any("err", err))
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	r.refused.Warn(r.logger, "lines refused", slog.Any("target", a), slog.Int("lines", len(refused)),
		slog.Int("in_dead_letter_file", kept), slog.Int("dropped", len(refused)-kept),
		slog.String("answer", refused[0].Answer))
	return nil
}

func letters(refused []Refused) []deadletter.Letter {
	all := make([]deadletter.Letter, len(refused))
	for i, x := range refused {
		all[i] = deadletter.Letter{Line: x.Bytes[:len(x.Bytes)-1], Answer: x.Answer}
	}
	return all
}

func (r *Rejects) logBlocked(a target.Address, refused []Refused, wait time.Duration) {
	r.blocked.Warn(r.logger, "target refuses lines, which wait for it", slog.Any("target", a),
		slog.Int("lines", len(refused)), slog.String("answer", refused[0].Answer), slog.Duration("wait", wait))
}
