// Package known tells which metrics linesplit has, and whether a PromQL expression asks for any other.
package known

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Metrics are the labels of each metric by its name, as expressions write it.
type Metrics map[string][]string

// scraped labels come from Prometheus itself.
func scraped() []string { return []string{"job", "instance", model.MetricNameLabel} }

// Read reads files with the text that linesplit serves on /metrics, and knows what is in any of them.
func Read(files ...string) (Metrics, error) {
	m := Metrics{}
	for _, file := range files {
		if err := m.read(file); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m Metrics) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	decoder := expfmt.NewTextParser(model.UTF8Validation)
	families, err := decoder.TextToMetricFamilies(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for name, family := range families {
		m.Add(name, family)
	}
	return nil
}

// Add makes a metric known that has the labels of its first series, beside those that it may have already.
func (m Metrics) Add(name string, family *dto.MetricFamily) {
	names := scraped()
	for _, pair := range family.GetMetric()[0].GetLabel() {
		names = append(names, pair.GetName())
	}
	if family.GetType() != dto.MetricType_HISTOGRAM {
		m.merge(name, names)
		return
	}
	m.merge(name+"_sum", names)
	m.merge(name+"_count", names)
	m.merge(name+"_bucket", append(names, model.BucketLabel))
}

func (m Metrics) merge(name string, labels []string) {
	for _, label := range labels {
		if !slices.Contains(m[name], label) {
			m[name] = append(m[name], label)
		}
	}
}

// Check wants every metric of an expression to exist, with every label that is asked for.
func (m Metrics) Check(expr string) error {
	root, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return err
	}
	var errs []error
	parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			errs = append(errs, m.checkSelector(n))
		case *parser.AggregateExpr:
			errs = append(errs, m.checkGrouping(n))
		}
		return nil
	})
	return errors.Join(errs...)
}

func (m Metrics) checkSelector(selector *parser.VectorSelector) error {
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
func (m Metrics) checkGrouping(aggregate *parser.AggregateExpr) error {
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
