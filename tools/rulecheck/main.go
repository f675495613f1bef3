// Command rulecheck checks that Prometheus accepts a file of alerting rules, that the expressions
// use only metrics and labels that linesplit has, and that each alert has a severity, a summary and
// a description.
//
//	rulecheck METRICS RULES
//
// METRICS is the text that linesplit serves on /metrics.
package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"linesplit/tools/known"
)

func main() {
	n := len(os.Args) - 1
	if n < 2 {
		fmt.Fprintln(os.Stderr, "usage: rulecheck METRICS… RULES")
		os.Exit(2)
	}
	if err := check(os.Args[1:n], os.Args[n]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// check returns all faults of the rules.
func check(metricsFiles []string, rulesFile string) error {
	metrics, err := known.Read(metricsFiles...)
	if err != nil {
		return err
	}
	groups, err := readRules(rulesFile)
	if err != nil {
		return err
	}
	var errs []error
	for _, group := range groups {
		for _, rule := range group.Rules {
			err := errors.Join(checkAlert(rule), metrics.Check(rule.Expr))
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: alert %q:\n%w", rulesFile, rule.Alert, err))
			}
		}
	}
	return errors.Join(errs...)
}

// readRules parses a rule file as Prometheus does, and rejects unknown keys and broken templates.
func readRules(file string) ([]rulefmt.RuleGroup, error) {
	promQL := parser.NewParser(parser.Options{})
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, promQL, slog.Default())
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(groups.Groups) == 0 {
		return nil, fmt.Errorf("%s: no rules", file)
	}
	return groups.Groups, nil
}

// checkAlert requires what an operator needs: how urgent the alert is, what happens, and what to
// do.
func checkAlert(rule rulefmt.Rule) error {
	var errs []error
	if rule.Alert == "" {
		errs = append(errs, errors.New("  is not an alert"))
	}
	if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" {
		errs = append(errs, fmt.Errorf("  severity %q: want critical or warning", severity))
	}
	for _, name := range []string{"summary", "description"} {
		if rule.Annotations[name] == "" {
			errs = append(errs, fmt.Errorf("  has no %s", name))
		}
	}
	return errors.Join(errs...)
}
