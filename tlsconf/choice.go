package tlsconf

import (
	"crypto/tls"

	"linesplit/internal/servername"
)

// choice chooses among several certificates by the name that a client asks for. It uses a table of
// names, since crypto/tls would compare the name with each certificate at every handshake.
type choice struct {
	all    []tls.Certificate // at least one
	byName servername.Table[[]*tls.Certificate]
}

// newChoice makes the table of the certificates' names. It leaves out names that no client can ask
// for.
func newChoice(all []tls.Certificate) *choice {
	c := &choice{all: all, byName: servername.Table[[]*tls.Certificate]{}}
	for i := range all {
		pair := &all[i]
		if pair.Leaf == nil {
			continue // loadServer has returned an error for it
		}
		for _, text := range pair.Leaf.DNSNames {
			if name, err := servername.Parse(text); err == nil {
				c.byName[name] = append(c.byName[name], pair)
			}
		}
	}
	return c
}

// certificate is a tls.Config.GetCertificate. It returns the first certificate for the name that
// the client asks for, or the first of all if there is none. A certificate that the client supports
// comes before others.
func (c *choice) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if fitting, found := c.byName.Lookup(hello.ServerName); found {
		for _, pair := range fitting {
			if hello.SupportsCertificate(pair) == nil {
				return pair, nil
			}
		}
		return fitting[0], nil
	}
	nameless := *hello
	nameless.ServerName = ""
	for i := range c.all {
		if nameless.SupportsCertificate(&c.all[i]) == nil {
			return &c.all[i], nil
		}
	}
	return &c.all[0], nil
}
