// Package known holds the metrics that linesplit has, and checks that PromQL expressions use only
// these.
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

// Metrics holds the labels of each metric by the name that expressions use.
type Metrics map[string][]string

// scraped returns the labels that Prometheus adds itself.
func scraped() []string { return []string{"job", "instance", model.MetricNameLabel} }

// Read reads the metrics in files with the text that linesplit serves on /metrics.
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

// Add adds a metric with the labels of its first series. A metric that is known already keeps its
// other labels.
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

// Check returns an error if an expression uses a metric that does not exist, or a label that its
// metric lacks.
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

// checkGrouping checks that every metric in an aggregation has the labels of its "by".
func (m Metrics) checkGrouping(aggregate *parser.AggregateExpr) error {
	var errs []error
	parser.Inspect(aggregate.Expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, name := range aggregate.Grouping {
			// checkSelector reports metrics that do not exist.
			if names, exists := m[selector.Name]; exists && !slices.Contains(names, name) {
				errs = append(errs, fmt.Errorf("  grouped by %q, which %s does not have", name, selector.Name))
			}
		}
		return nil
	})
	return errors.Join(errs...)
}
