package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"linesplit/tools/known"
)

// dashboard holds the keys of a Grafana dashboard that our dashboards use. Other keys are errors:
// they are mistakes, or belong here.
type dashboard struct {
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Tags          []string `json:"tags"`
	SchemaVersion int      `json:"schemaVersion"`
	Editable      bool     `json:"editable"`
	GraphTooltip  int      `json:"graphTooltip"`
	Timezone      string   `json:"timezone"`
	Refresh       string   `json:"refresh"`
	Time          struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []annotation `json:"list"`
	} `json:"annotations"`
	Panels []panel `json:"panels"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type variable struct {
	Name       string         `json:"name"`
	Label      string         `json:"label"`
	Type       string         `json:"type"`
	Datasource source         `json:"datasource"`
	Query      any            `json:"query"` // type of a data source, or an object with a label_values query
	Current    map[string]any `json:"current"`
	Refresh    int            `json:"refresh"`
	Sort       int            `json:"sort"`
	Multi      bool           `json:"multi"`
	IncludeAll bool           `json:"includeAll"`
	AllValue   string         `json:"allValue"`
}

type annotation struct {
	Name        string `json:"name"`
	Datasource  source `json:"datasource"`
	Enable      bool   `json:"enable"`
	IconColor   string `json:"iconColor"`
	Expr        string `json:"expr"`
	TitleFormat string `json:"titleFormat"`
}

type panel struct {
	ID          int     `json:"id"`
	Type        string  `json:"type"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Datasource  source  `json:"datasource"`
	Collapsed   bool    `json:"collapsed"`
	GridPos     grid    `json:"gridPos"`
	Targets     []query `json:"targets"`
	Panels      []panel `json:"panels"`
	FieldConfig struct {
		Defaults  map[string]any `json:"defaults"`
		Overrides []any          `json:"overrides"`
	} `json:"fieldConfig"`
	Options map[string]any `json:"options"`
}

type grid struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type query struct {
	RefID        string `json:"refId"`
	Datasource   source `json:"datasource"`
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat"`
	Instant      bool   `json:"instant"`
	Format       string `json:"format"`
}

// provisionedSources is a file of data sources that Grafana reads when it starts.
type provisionedSources struct {
	APIVersion  int `json:"apiVersion"`
	Datasources []struct {
		Name      string            `json:"name"`
		UID       string            `json:"uid"`
		Type      string            `json:"type"`
		Access    string            `json:"access"`
		URL       string            `json:"url"`
		IsDefault bool              `json:"isDefault"`
		Editable  bool              `json:"editable"`
		JSONData  map[string]string `json:"jsonData"`
	} `json:"datasources"`
}

// provisionedDashboards is a file of dashboard folders that Grafana reads when it starts.
type provisionedDashboards struct {
	APIVersion int `json:"apiVersion"`
	Providers  []struct {
		Name            string            `json:"name"`
		Type            string            `json:"type"`
		DisableDeletion bool              `json:"disableDeletion"`
		AllowUIUpdates  bool              `json:"allowUiUpdates"`
		Options         map[string]string `json:"options"`
	} `json:"providers"`
}

// checkDashboards checks all dashboards and the files that Grafana is provisioned with.
func checkDashboards(repository string) error {
	metrics, err := allMetrics(repository)
	if err != nil {
		return err
	}
	grafana := filepath.Join(repository, "deploy", "grafana")
	files, err := filepath.Glob(filepath.Join(grafana, "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s: no dashboards (%w)", grafana, err)
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, checkDashboard(file, metrics))
	}
	var sources provisionedSources
	var dashboards provisionedDashboards
	return errors.Join(append(errs,
		readStrict(filepath.Join(grafana, "provisioning/datasources/prometheus.yml"), &sources),
		readStrict(filepath.Join(grafana, "provisioning/dashboards/linesplit.yml"), &dashboards))...)
}

// allMetrics returns the metrics of both modes and of every Go process.
func allMetrics(repository string) (known.Metrics, error) {
	testdata := filepath.Join(repository, "admin", "testdata")
	metrics, err := known.Read(filepath.Join(testdata, "metrics.txt"), filepath.Join(testdata, "forwarded.txt"),
		filepath.Join(testdata, "services.txt"))
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := registry.Gather()
	if err != nil {
		return nil, err
	}
	for _, family := range families {
		metrics.Add(family.GetName(), family)
	}
	return metrics, nil
}

func checkDashboard(file string, metrics known.Metrics) error {
	var d dashboard
	if err := readStrict(file, &d); err != nil {
		return err
	}
	f := &findings{file: file}
	f.checkVariables(d, metrics)
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if other, twice := ids[p.ID]; twice {
			f.add("panels %q and %q have the same id %d", other, p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		f.checkPosition(p, taken)
		f.checkPanel(p, metrics)
	}
	if len(ids) == 0 || d.UID == "" || d.Title == "" {
		f.add("no panels, or no uid, or no title")
	}
	return f.err()
}

// checkPosition requires panels on the grid that do not overlap.
func (f *findings) checkPosition(p panel, taken map[[2]int]string) {
	g := p.GridPos
	if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
		f.add("panel %q: not on the grid", p.Title)
	}
	for x := g.X; x < g.X+g.W; x++ {
		for y := g.Y; y < g.Y+g.H; y++ {
			if other, twice := taken[[2]int{x, y}]; twice {
				f.add("panel %q overlaps %q", p.Title, other)
				return
			}
			taken[[2]int{x, y}] = p.Title
		}
	}
}

func (f *findings) checkPanel(p panel, metrics known.Metrics) {
	if p.Type == "row" {
		return
	}
	if p.Title == "" || len(p.Targets) == 0 {
		f.add("panel %d %q: no title, or no queries", p.ID, p.Title)
	}
	for _, q := range p.Targets {
		if err := metrics.Check(expand(q.Expr)); err != nil {
			f.add("panel %q, query %s:\n%v", p.Title, q.RefID, err)
		}
		if !strings.Contains(q.Expr, `job="$job", instance=~"$instance"`) {
			f.add("panel %q, query %s: does not select $job and $instance", p.Title, q.RefID)
		}
		f.checkLegend(p, q)
	}
}

var legendLabel = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// checkLegend requires that a legend uses only labels that the query groups by, as the result has
// no others.
func (f *findings) checkLegend(p panel, q query) {
	for _, match := range legendLabel.FindAllStringSubmatch(q.LegendFormat, -1) {
		if !slices.Contains(groupings(q.Expr), match[1]) {
			f.add("panel %q, query %s: the legend uses %s, which the query does not group by",
				p.Title, q.RefID, match[1])
		}
	}
}

var grouping = regexp.MustCompile(`\bby \(([^)]*)\)`)

func groupings(expr string) []string {
	var all []string
	for _, match := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(match[1], ",") {
			all = append(all, strings.TrimSpace(label))
		}
	}
	return all
}

// expand replaces the variables of Grafana that stand for durations. Variables in label values are
// valid PromQL as they are.
func expand(expr string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$__interval", "15s").Replace(expr)
}

var labelValues = regexp.MustCompile(`^label_values\((.*), *(\w+)\)$`)

// checkVariables requires that each variable queries an existing label, and that each variable in
// use exists.
func (f *findings) checkVariables(d dashboard, metrics known.Metrics) {
	names := map[string]bool{}
	for _, v := range d.Templating.List {
		names[v.Name] = true
		if v.Type != "query" {
			continue
		}
		asked, _ := v.Query.(map[string]any)
		text, _ := asked["query"].(string)
		match := labelValues.FindStringSubmatch(text)
		if match == nil {
			f.add("variable %s: %q: want label_values(METRIC, LABEL)", v.Name, text)
			continue
		}
		if err := metrics.Check("count by (" + match[2] + ") (" + match[1] + ")"); err != nil {
			f.add("variable %s:\n%v", v.Name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used(d))) {
		if !names[name] {
			f.add("there is no variable $%s", name)
		}
	}
}

var variableUse = regexp.MustCompile(`\$\{?([a-z]\w*)`)

// used returns the names of the variables that queries and annotations use.
func used(d dashboard) map[string]bool {
	var texts []string
	for _, p := range d.Panels {
		texts = append(texts, p.Datasource.UID)
		for _, q := range p.Targets {
			texts = append(texts, q.Expr, q.Datasource.UID)
		}
	}
	for _, a := range d.Annotations.List {
		texts = append(texts, a.Expr, a.Datasource.UID)
	}
	names := map[string]bool{}
	for _, text := range texts {
		for _, match := range variableUse.FindAllStringSubmatch(text, -1) {
			names[match[1]] = true
		}
	}
	return names
}
