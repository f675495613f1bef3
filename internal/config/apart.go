package config

import (
	"fmt"

	"linesplit/internal/flags"
	"linesplit/listen"
)

// checkApart records listeners that two services have. It lets the listeners of different services
// be where those of one service may be beside each other.
func checkApart(s *flags.Set, services []Config) {
	first := map[string]string{} // service by the key of its listener
	var all []listen.Spec
	for _, c := range services {
		for _, spec := range c.Listen {
			all = append(all, spec)
			if hasPortOfItsOwn(spec) {
				continue
			}
			other, found := first[AddressKey(spec.String())]
			if found && other != c.Name {
				s.AddError(sameListener(spec, other, c.Name))
			}
			first[AddressKey(spec.String())] = c.Name
		}
	}
	listen.Apart(all)
	for i := range services {
		n := copy(services[i].Listen, all)
		all = all[n:]
	}
}

// sameListener is the fault of two services that listen at the same address.
func sameListener(spec listen.Spec, a, b string) error {
	return fmt.Errorf("the services %s and %s both listen on %s: give one of them another address", a, b, spec)
}
