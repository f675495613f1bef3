package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// prometheusConfig is the part of Prometheus' configuration that compose.yaml needs.
type prometheusConfig struct {
	Global struct {
		ScrapeInterval     string `json:"scrape_interval"`
		EvaluationInterval string `json:"evaluation_interval"`
	} `json:"global"`
	RuleFiles     []string `json:"rule_files"`
	ScrapeConfigs []struct {
		JobName       string `json:"job_name"`
		StaticConfigs []struct {
			Targets []string `json:"targets"`
		} `json:"static_configs"`
	} `json:"scrape_configs"`
}

// checkCompose reads a compose file as docker compose does, and checks that it fits the files it
// names.
func checkCompose(file string, commands commands) error {
	f := &findings{file: file}
	project, err := readCompose(file)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		f.checkMounts(service)
		f.checkHardened(service)
		if service.Image == "linesplit" {
			f.checkLinesplit(project, service, commands)
		}
	}
	if _, scraped := project.Services["prometheus"]; scraped {
		f.checkPrometheus(project, filepath.Join(filepath.Dir(file), "prometheus", "prometheus.yml"))
	}
	return f.err()
}

func readCompose(file string) (*types.Project, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(file),
		ConfigFiles: []types.ConfigFile{{Filename: file, Content: data}},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return project, nil
}

// checkMounts requires that mounted files exist and are mounted read-only.
func (f *findings) checkMounts(service types.ServiceConfig) {
	for _, v := range service.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		if _, err := os.Stat(v.Source); err != nil {
			f.add("service %s mounts %s, which does not exist", service.Name, v.Source)
		}
		if !v.ReadOnly {
			f.add("service %s mounts %s for writing", service.Name, v.Source)
		}
	}
}

// checkHardened requires a service without rights that it does not need, and ports on the loopback.
func (f *findings) checkHardened(service types.ServiceConfig) {
	if !service.ReadOnly || !slices.Contains(service.CapDrop, "ALL") ||
		!slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		f.add("service %s: want read_only, cap_drop ALL and no-new-privileges", service.Name)
	}
	for _, p := range service.Ports {
		if p.HostIP != "127.0.0.1" {
			f.add("service %s publishes port %s on all addresses", service.Name, p.Published)
		}
	}
}

// checkLinesplit requires flags that exist, addresses of services, and enough time to drain.
func (f *findings) checkLinesplit(project *types.Project, service types.ServiceConfig, commands commands) {
	if err := commands.checkEnvironment(slices.Collect(maps.Keys(service.Environment))); err != nil {
		f.add("service %s: %v", service.Name, err)
	}
	values, err := commands.parse(service.Command)
	if err != nil {
		f.add("service %s: %v", service.Name, err)
		return
	}
	for _, name := range []string{"target", "to"} {
		for _, address := range strings.FieldsFunc(values[name], isComma) {
			if err := isService(project, address); err != nil {
				f.add("service %s: -%s %v", service.Name, name, err)
			}
		}
	}
	took, err := drain(values)
	if err != nil {
		f.add("service %s: %v", service.Name, err)
	}
	if grace := stopGrace(service); grace <= took {
		f.add("service %s: stop_grace_period %v is not longer than -drain-timeout %v", service.Name, grace, took)
	}
}

func isComma(r rune) bool { return r == ',' }

func isService(project *types.Project, address string) error {
	place, _, _ := strings.Cut(strings.TrimPrefix(address, "dns://"), "?")
	host, _, err := net.SplitHostPort(place)
	if err != nil {
		return err
	}
	if _, exists := project.Services[host]; !exists {
		return fmt.Errorf("%s: no service of that name", address)
	}
	return nil
}

// stopGrace returns the grace period of a service, which is 10 s by default.
func stopGrace(service types.ServiceConfig) time.Duration {
	if service.StopGracePeriod == nil {
		return 10 * time.Second
	}
	return time.Duration(*service.StopGracePeriod)
}

// checkPrometheus requires that Prometheus finds its rules and the services that it scrapes.
func (f *findings) checkPrometheus(project *types.Project, file string) {
	var config prometheusConfig
	if err := readStrict(file, &config); err != nil {
		f.errs = append(f.errs, err)
		return
	}
	mounts := project.Services["prometheus"].Volumes
	for _, rules := range config.RuleFiles {
		if !slices.ContainsFunc(mounts, func(v types.ServiceVolumeConfig) bool { return v.Target == rules }) {
			f.add("service prometheus does not mount %s, which its configuration names", rules)
		}
	}
	for _, scrape := range config.ScrapeConfigs {
		for _, static := range scrape.StaticConfigs {
			for _, address := range static.Targets {
				if err := isService(project, address); err != nil {
					f.add("job %s: %v", scrape.JobName, err)
				}
			}
		}
	}
	if len(config.ScrapeConfigs) == 0 {
		f.add("%s scrapes nothing", file)
	}
}
