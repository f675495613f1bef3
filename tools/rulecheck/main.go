// Rulecheck says whether a file of Prometheus alerting rules is one that Prometheus takes, whether its expressions ask
// only for metrics and labels that linesplit has, and whether each alert tells a person enough.
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
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: rulecheck METRICS RULES")
		os.Exit(2)
	}
	if err := check(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// check returns everything that is wrong with the rules.
func check(metricsFile, rulesFile string) error {
	known, err := readMetrics(metricsFile)
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
			err := errors.Join(checkAlert(rule), checkExpr(rule.Expr, known))
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: alert %q:\n%w", rulesFile, rule.Alert, err))
			}
		}
	}
	return errors.Join(errs...)
}

// readRules parses a rule file as Prometheus does, unknown keys and broken templates included.
func readRules(file string) ([]rulefmt.RuleGroup, error) {
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.Default())
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(groups.Groups) == 0 {
		return nil, fmt.Errorf("%s: no rules", file)
	}
	return groups.Groups, nil
}

// metrics are the labels of each metric by its name, as expressions write it.
type metrics map[string][]string

// scraped labels come from Prometheus itself.
var scraped = []string{"job", "instance", model.MetricNameLabel}

func readMetrics(file string) (metrics, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	decoder := expfmt.NewTextParser(model.UTF8Validation)
	families, err := decoder.TextToMetricFamilies(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	known := metrics{}
	for name, family := range families {
		known.add(name, family)
	}
	return known, nil
}

func (m metrics) add(name string, family *dto.MetricFamily) {
	names := slices.Clone(scraped)
	for _, pair := range family.GetMetric()[0].GetLabel() {
		names = append(names, pair.GetName())
	}
	if family.GetType() != dto.MetricType_HISTOGRAM {
		m[name] = names
		return
	}
	m[name+"_sum"], m[name+"_count"] = names, names
	m[name+"_bucket"] = append(slices.Clone(names), model.BucketLabel)
}

// checkAlert wants what an operator needs: how urgent it is, what happens, and what to do.
func checkAlert(rule rulefmt.Rule) error {
	var errs []error
	if rule.Alert == "" {
		errs = append(errs, errors.New("  is no alert"))
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

// checkExpr wants every metric of an expression to exist, with every label that is asked for.
func checkExpr(expr string, known metrics) error {
	root, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return err
	}
	var errs []error
	parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			errs = append(errs, known.checkSelector(n))
		case *parser.AggregateExpr:
			errs = append(errs, known.checkGrouping(n))
		}
		return nil
	})
	return errors.Join(errs...)
}

func (m metrics) checkSelector(selector *parser.VectorSelector) error {
	names, exists := m[selector.Name]
	if !exists {
		return fmt.Errorf("  metric %q does not exist", selector.Name)
	}
	for _, matcher := range selector.LabelMatchers {
		if !slices.Contains(names, matcher.Name) {
			return fmt.Errorf("  metric %s has no label %q: it has %s", selector.Name, matcher.Name, strings.Join(names, ", "))
		}
	}
	return nil
}

// checkGrouping wants the labels of "by" on every metric below it.
func (m metrics) checkGrouping(aggregate *parser.AggregateExpr) error {
	var errs []error
	parser.Inspect(aggregate.Expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, name := range aggregate.Grouping {
			// What does not exist at all is reported by checkSelector.
			if names, exists := m[selector.Name]; exists && !slices.Contains(names, name) {
				errs = append(errs, fmt.Errorf("  grouped by %q, which %s does not have", name, selector.Name))
			}
		}
		return nil
	})
	return errors.Join(errs...)
}
