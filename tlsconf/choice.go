package tlsconf

import (
	"crypto/tls"

	"linesplit/internal/servername"
)

// choice chooses among several certificates by the name that a client asks for. crypto/tls would
// check each of them against the name, at every handshake.
type choice struct {
	all    []tls.Certificate // at least one
	byName servername.Table[[]*tls.Certificate]
}

// newChoice reads the names that the certificates are for. Names that no client can ask for are
// left out.
func newChoice(all []tls.Certificate) *choice {
	c := &choice{all: all, byName: servername.Table[[]*tls.Certificate]{}}
	for i := range all {
		pair := &all[i]
		if pair.Leaf == nil {
			continue // could not be read, which is an error
		}
		for _, text := range pair.Leaf.DNSNames {
			if name, err := servername.Parse(text); err == nil {
				c.byName[name] = append(c.byName[name], pair)
			}
		}
	}
	return c
}

// certificate returns the certificate for a client: the first that is for the name, or else the
// first of all. One whose key the client can check comes before others. It is
// tls.Config.GetCertificate.
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
