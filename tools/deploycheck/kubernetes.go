package main

import (
	"fmt"
	"path/filepath"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// cluster holds all objects of deploy/kubernetes.
type cluster struct {
	deployment apps.Deployment
	service    core.Service
	budget     policy.PodDisruptionBudget
	network    networking.NetworkPolicy
	monitor    monitoring.ServiceMonitor
	sidecar    core.Pod
	headless   headless
}

// headless holds the manifests of deploy/kubernetes/examples/headless.
type headless struct {
	service             core.Service
	receiver, linesplit apps.Deployment
}

// checkCluster reads the manifests as an API server with strict validation does, and checks that
// they fit each other.
func checkCluster(dir string, commands commands) error {
	var c cluster
	for _, file := range []struct {
		name, kind string
		into       any
	}{
		{"deployment.yaml", "apps/v1 Deployment", &c.deployment},
		{"service.yaml", "v1 Service", &c.service},
		{"poddisruptionbudget.yaml", "policy/v1 PodDisruptionBudget", &c.budget},
		{"networkpolicy.yaml", "networking.k8s.io/v1 NetworkPolicy", &c.network},
		{"servicemonitor.yaml", "monitoring.coreos.com/v1 ServiceMonitor", &c.monitor},
		{"examples/sidecar.yaml", "v1 Pod", &c.sidecar},
		{"examples/headless/service.yaml", "v1 Service", &c.headless.service},
		{"examples/headless/receiver.yaml", "apps/v1 Deployment", &c.headless.receiver},
		{"examples/headless/linesplit.yaml", "apps/v1 Deployment", &c.headless.linesplit},
	} {
		if err := readManifest(filepath.Join(dir, file.name), file.kind, file.into); err != nil {
			return err
		}
	}
	f := &findings{file: dir}
	f.checkSelectors(c)
	f.checkPorts(c)
	f.checkPod("deployment", c.deployment.Spec.Template.Spec, commands)
	f.checkPod("sidecar", c.sidecar.Spec, commands)
	f.checkPod("headless receiver", c.headless.receiver.Spec.Template.Spec, commands)
	f.checkPod("headless linesplit", c.headless.linesplit.Spec.Template.Spec, commands)
	f.checkHeadless(c.headless)
	return f.err()
}

// readManifest reads a manifest, which must have the given API version and kind.
func readManifest(file, kind string, into any) error {
	var is meta.TypeMeta
	if err := readStrict(file, into); err != nil {
		return err
	}
	switch object := into.(type) {
	case *apps.Deployment:
		is = object.TypeMeta
	case *core.Service:
		is = object.TypeMeta
	case *policy.PodDisruptionBudget:
		is = object.TypeMeta
	case *networking.NetworkPolicy:
		is = object.TypeMeta
	case *monitoring.ServiceMonitor:
		is = object.TypeMeta
	case *core.Pod:
		is = object.TypeMeta
	}
	if got := is.APIVersion + " " + is.Kind; got != kind {
		return fmt.Errorf("%s: is %s, want %s", file, got, kind)
	}
	return nil
}

// checkHeadless requires a Service without an address of its own, which selects the receivers.
func (f *findings) checkHeadless(h headless) {
	if h.service.Spec.ClusterIP != core.ClusterIPNone {
		f.add("headless Service: its clusterIP is %q, want None", h.service.Spec.ClusterIP)
	}
	selector := labels.SelectorFromSet(h.service.Spec.Selector)
	if selector.Empty() || !selector.Matches(labels.Set(h.receiver.Spec.Template.Labels)) {
		f.add("headless Service: its selector does not match %v", h.receiver.Spec.Template.Labels)
	}
}

// checkSelectors requires that each selector matches its pods, or its service.
func (f *findings) checkSelectors(c cluster) {
	pods := c.deployment.Spec.Template.Labels
	for _, s := range []struct {
		of       string
		selector *meta.LabelSelector
		labels   map[string]string
	}{
		{"Deployment", c.deployment.Spec.Selector, pods},
		{"Service", meta.SetAsLabelSelector(c.service.Spec.Selector), pods},
		{"PodDisruptionBudget", c.budget.Spec.Selector, pods},
		{"NetworkPolicy", &c.network.Spec.PodSelector, pods},
		{"ServiceMonitor", &c.monitor.Spec.Selector, c.service.Labels},
	} {
		selector, err := meta.LabelSelectorAsSelector(s.selector)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(s.labels)) {
			f.add("%s: its selector does not match %v (%v)", s.of, s.labels, err)
		}
	}
}

// checkPorts requires that every named port exists.
func (f *findings) checkPorts(c cluster) {
	containers, service := map[string]bool{}, map[string]bool{}
	for _, container := range c.deployment.Spec.Template.Spec.Containers {
		addPorts(containers, container)
	}
	for _, p := range c.service.Spec.Ports {
		service[p.Name] = true
		f.wantPort("Service", p.TargetPort, containers)
	}
	for _, rule := range c.network.Spec.Ingress {
		for _, p := range rule.Ports {
			f.wantPort("NetworkPolicy", *p.Port, containers)
		}
	}
	for _, e := range c.monitor.Spec.Endpoints {
		f.wantPort("ServiceMonitor", intstr.FromString(e.Port), service)
	}
}

func addPorts(ports map[string]bool, c core.Container) {
	for _, p := range c.Ports {
		ports[p.Name] = true
	}
}

func (f *findings) wantPort(of string, port intstr.IntOrString, known map[string]bool) {
	if port.Type == intstr.String && !known[port.StrVal] {
		f.add("%s: no port %q", of, port.StrVal)
	}
}

// checkPod requires the settings that linesplit needs in a pod, and no rights that it does not
// need.
func (f *findings) checkPod(of string, pod core.PodSpec, commands commands) {
	if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		f.add("%s: want enableServiceLinks false: Kubernetes would set LINESPLIT_PORT for a service", of)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		f.add("%s: want automountServiceAccountToken false", of)
	}
	if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil {
		f.add("%s: want runAsNonRoot and a seccompProfile", of)
	}
	if pod.TerminationGracePeriodSeconds == nil {
		f.add("%s: no terminationGracePeriodSeconds", of)
		return
	}
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		f.checkContainer(of+": container "+c.Name, c, grace, commands)
	}
}

func (f *findings) checkContainer(of string, c core.Container, grace time.Duration, commands commands) {
	if s := c.SecurityContext; s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
		s.Capabilities == nil || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" {
		f.add("%s: want no privilege escalation, a read-only root file system, and no capabilities", of)
	}
	if c.Resources.Limits.Memory().IsZero() {
		f.add("%s: no memory limit", of)
	}
	ports := map[string]bool{}
	addPorts(ports, c)
	for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		switch {
		case probe == nil:
		case probe.TCPSocket != nil:
			f.wantPort(of, probe.TCPSocket.Port, ports)
		default:
			f.wantPort(of, probe.HTTPGet.Port, ports)
		}
	}
	var names []string
	for _, e := range c.Env {
		names = append(names, e.Name)
	}
	if err := commands.checkEnvironment(names); err != nil {
		f.add("%s: %v", of, err)
	}
	values, err := commands.parse(c.Args)
	if err != nil {
		f.add("%s: %v", of, err)
		return
	}
	took, err := drain(values)
	if err != nil {
		f.add("%s: %v", of, err)
	}
	if l := c.Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
		took += time.Duration(l.PreStop.Sleep.Seconds) * time.Second
	}
	if grace <= took {
		f.add("%s: preStop and -drain-timeout take %v, but it is killed after %v", of, took, grace)
	}
}
