package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// These are the bodies of requests and responses that are used here only.
type (
	targetList struct {
		Targets []TargetStatus `json:"targets"`
		Sources []SourceStatus `json:"sources"`
	}
	connectionList struct {
		Connections []Connection `json:"connections"`
	}
	settingList struct {
		Settings []Setting `json:"settings"`
	}
	newTarget struct {
		Address string `json:"address"`
	}
	newWeight struct {
		Weight *int `json:"weight"`
	}
	newBalance struct {
		Rule string `json:"rule"`
	}
	reloaded struct {
		Changed     []string `json:"changed"`
		NeedRestart []string `json:"need_restart"`
	}
)

// The default and the maximum of ?limit=.
const (
	defaultConnections = 100
	maxConnections     = 10_000
)

// withoutNil makes nil lists empty, since nil would be null in JSON.
func withoutNil(s Status) Status {
	s.Listeners = orEmpty(s.Listeners)
	s.Targets = orEmpty(s.Targets)
	s.Sources = orEmpty(s.Sources)
	s.Totals.Refused = orEmpty(s.Totals.Refused)
	if s.Ledger != nil {
		ledger := *s.Ledger
		ledger.DroppedBy = orEmpty(ledger.DroppedBy)
		s.Ledger = &ledger
	}
	s.Spool = s.Spool.withoutNil()
	return s
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func respond(w http.ResponseWriter, value any) error {
	writeJSON(w, http.StatusOK, "application/json", value)
	return nil
}

func (v view) getStatus(w http.ResponseWriter, _ *http.Request) error { return respond(w, v.status()) }

func (v view) getHistory(w http.ResponseWriter, _ *http.Request) error {
	s := v.status()
	return respond(w, History{s.Mode, s.Started, orEmpty(v.sampler.historyOf(v.name).all())})
}

func (v view) getLedger(w http.ResponseWriter, _ *http.Request) error {
	s := v.status()
	if s.Ledger == nil {
		return fmt.Errorf("%w: %s mode has no ledger of lines", ErrNotInMode, s.Mode)
	}
	return respond(w, s.Ledger)
}

func (v view) targets() targetList {
	s := v.status()
	return targetList{s.Targets, s.Sources}
}

func (v view) getTargets(w http.ResponseWriter, _ *http.Request) error {
	return respond(w, v.targets())
}

func (v view) getTarget(w http.ResponseWriter, r *http.Request) error {
	t, err := v.find(r.PathValue("name"))
	if err != nil {
		return err
	}
	return respond(w, t)
}

func (v view) find(name string) (TargetStatus, error) {
	targets := v.status().Targets
	if i := slices.IndexFunc(targets, func(t TargetStatus) bool { return t.Name == name }); i >= 0 {
		return targets[i], nil
	}
	return TargetStatus{}, fmt.Errorf("%w: %q", ErrUnknown, name)
}

func (v view) getConnections(w http.ResponseWriter, r *http.Request) error {
	limit := defaultConnections
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxConnections {
			return newProblem(http.StatusBadRequest, "limit",
				"limit %q: want a number from 1 to %d", text, maxConnections)
		}
		limit = n
	}
	return respond(w, connectionList{orEmpty(v.Control.Connections(limit))})
}

func (v view) getConfig(w http.ResponseWriter, _ *http.Request) error {
	return respond(w, settingList{v.settings()})
}

// addTarget answers with all targets, since only Control knows the name of the new one.
func (v view) addTarget(w http.ResponseWriter, r *http.Request) error {
	var body newTarget
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Address == "" {
		return newProblem(http.StatusBadRequest, "body", "address is missing: write it as for -target")
	}
	ctx, cancel := changeContext(r)
	defer cancel()
	if err := v.Control.Add(ctx, body.Address); err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, "application/json", v.targets())
	return nil
}

// removeTarget answers 202 with the target while it still drains, else 204.
func (v view) removeTarget(w http.ResponseWriter, r *http.Request) error {
	if err := v.change(r, v.Control.Remove); err != nil {
		return err
	}
	t, err := v.find(r.PathValue("name"))
	if err != nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	writeJSON(w, http.StatusAccepted, "application/json", t)
	return nil
}

func (v view) drainTarget(w http.ResponseWriter, r *http.Request) error {
	if err := v.change(r, v.Control.Drain); err != nil {
		return err
	}
	return v.getTarget(w, r)
}

func (v view) resumeTarget(w http.ResponseWriter, r *http.Request) error {
	if err := v.change(r, v.Control.Resume); err != nil {
		return err
	}
	return v.getTarget(w, r)
}

// change calls do with the name of the target in the path.
func (v view) change(r *http.Request, do func(context.Context, string) error) error {
	if err := checkEmptyBody(r); err != nil {
		return err
	}
	ctx, cancel := changeContext(r)
	defer cancel()
	return do(ctx, r.PathValue("name"))
}

func (v view) setWeight(w http.ResponseWriter, r *http.Request) error {
	var body newWeight
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Weight == nil {
		return newProblem(http.StatusBadRequest, "body", "weight is missing")
	}
	ctx, cancel := changeContext(r)
	defer cancel()
	if err := v.Control.SetWeight(ctx, r.PathValue("name"), *body.Weight); err != nil {
		return err
	}
	return v.getTarget(w, r)
}

func (v view) setBalance(w http.ResponseWriter, r *http.Request) error {
	var body newBalance
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Rule == "" {
		return newProblem(http.StatusBadRequest, "body", "rule is missing: write it as for -balance")
	}
	ctx, cancel := changeContext(r)
	defer cancel()
	if err := v.Control.SetBalance(ctx, body.Rule); err != nil {
		return err
	}
	return respond(w, body)
}

func (v view) reload(w http.ResponseWriter, r *http.Request) error {
	if err := checkEmptyBody(r); err != nil {
		return err
	}
	ctx, cancel := changeContext(r)
	defer cancel()
	do := v.reloader()
	changed, needRestart, err := do(ctx)
	if err != nil {
		return err
	}
	return respond(w, reloaded{orEmpty(changed), orEmpty(needRestart)})
}

// reloader returns the Reload of the process.
func (v view) reloader() func(context.Context) (changed, needRestart []string, err error) {
	if v.process != nil {
		return v.process.Reload
	}
	return v.control.Reload
}
