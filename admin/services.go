package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// servicePrefix begins the paths of one of several services, below apiPrefix.
const servicePrefix = "/services/{service}"

// view is the service that a request is about. For operations of the whole process it has only api.
type view struct {
	*api
	Control
	name string // empty for the one service of a process without named ones
}

// routes returns all operations: those of the process, and those of a service, each with a path for
// the only service there is and one for any service by its name.
func (a *api) routes() []route {
	all := processRoutes()
	for _, r := range serviceRoutes() {
		if !r.named {
			all = append(all, r)
		}
		r.path = servicePrefix + r.path
		all = append(all, r)
	}
	return all
}

// views returns all services of the process.
func (a *api) views() (all []view) {
	if a.process == nil {
		return []view{{api: a, Control: a.control}}
	}
	for _, s := range a.process.Services() {
		all = append(all, view{a, s.Control, s.Name})
	}
	return all
}

// view returns the service that a request is about: the one in its path, the only one there is, or
// the only one with the target that the path names. A service that drains while another one has its
// name is meant only by a path with the name that it has meanwhile.
func (a *api) view(r *http.Request) (view, error) {
	all := a.views()
	if name := r.PathValue("service"); name != "" {
		if i := slices.IndexFunc(all, func(v view) bool { return v.name == name }); i >= 0 {
			return all[i], nil
		}
		return view{}, newProblem(http.StatusNotFound, "unknown-service", "there is no service %q: %s", name, listServices(all))
	}
	now := slices.DeleteFunc(slices.Clone(all), func(v view) bool { return strings.Contains(v.name, "~") })
	if len(now) == 1 {
		return now[0], nil
	}
	target := r.PathValue("name")
	having := slices.DeleteFunc(now, func(v view) bool {
		_, err := v.find(target)
		return err != nil
	})
	switch {
	case len(having) == 1:
		return having[0], nil
	case len(having) == 0 && target != "":
		return view{}, fmt.Errorf("%w: %q, in any of the services: %s", ErrUnknown, target, listServices(all))
	}
	return view{}, newProblem(http.StatusConflict, "several-services", "there are several services: use %s%s: %s",
		apiPrefix, strings.Replace(servicePrefix, "{service}", "NAME", 1)+strings.TrimPrefix(r.URL.Path, apiPrefix), listServices(all))
}

// listServices names the services for an error.
func listServices(all []view) string {
	var names []string
	for _, v := range all {
		names = append(names, v.name)
	}
	if all[0].name == "" {
		return "the one there is has no name: leave out /services/NAME"
	}
	return "there are " + strings.Join(names, ", ")
}

// status returns Control's Status with the fields that Server fills in.
func (v view) status() Status {
	s := v.Control.Status()
	s.Service = v.name
	s.Now = time.Now()
	v.sampler.historyOf(v.name).setRates(&s)
	return withoutNil(s)
}

// statuses returns the status of each service.
func (a *api) statuses() (all []Status) {
	for _, v := range a.views() {
		all = append(all, v.status())
	}
	return all
}

// serviceList is the body of a response.
type serviceList struct {
	Services    []Status     `json:"services"`
	SharedPorts *SharedPorts `json:"shared_ports,omitempty"` // nil if services have no names
}

func (v view) getServices(w http.ResponseWriter, _ *http.Request) error {
	list := serviceList{Services: orEmpty(v.statuses())}
	if v.process != nil {
		shared := v.process.SharedPorts()
		shared.Refused = orEmpty(shared.Refused)
		list.SharedPorts = &shared
	}
	return respond(w, list)
}

// getAllConfig answers with what services share, and then with the settings of each service.
func (v view) getAllConfig(w http.ResponseWriter, _ *http.Request) error {
	if v.process == nil {
		return respond(w, settingList{orEmpty(v.control.Config())})
	}
	all := orEmpty(v.process.Config())
	for _, one := range v.views() {
		all = append(all, one.settings()...)
	}
	return respond(w, settingList{all})
}

// settings returns the settings of a service, with its name.
func (v view) settings() []Setting {
	all := slices.Clone(v.Control.Config())
	for i := range all {
		all[i].Service = v.name
	}
	return orEmpty(all)
}

// findService returns the service of a name. p is nil if services have no names.
func findService(p Process, name string) (Service, error) {
	if p != nil {
		for _, s := range p.Services() {
			if s.Name == name {
				return s, nil
			}
		}
	}
	return Service{}, fmt.Errorf("there is no service %q", name)
}
