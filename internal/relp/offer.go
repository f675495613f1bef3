package relp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	maxOffer   = 4 << 10 // bytes
	maxFeature = 32      // bytes of a name
	maxValue   = 255     // bytes
)

// Offer says what a peer is capable of. Clients send it with Open; servers respond with what they
// accept of it.
type Offer struct {
	Version  int      // of RELP, with at most nine digits; rsyslog's is 0
	Software string   // name, version and URL with commas between them; empty: it is left out
	Commands []string // beyond those of each session; for logs this is Syslog
}

// Append appends the offer to b in the form in which Open has it as data.
func (o Offer) Append(b []byte) []byte {
	b = append(b, "relp_version="...)
	b = strconv.AppendInt(b, int64(o.Version), 10)
	if o.Software != "" {
		b = append(b, "\nrelp_software="...)
		b = append(b, o.Software...)
	}
	for i, command := range o.Commands {
		if i == 0 {
			b = append(b, "\ncommands="...)
		} else {
			b = append(b, ',')
		}
		b = append(b, command...)
	}
	return b
}

// Has reports whether the offer has a command.
func (o Offer) Has(command string) bool { return slices.Contains(o.Commands, command) }

// ParseOffer parses the data of Open, or of the response to it. Features that it does not know are
// ignored.
func ParseOffer(data []byte) (Offer, error) {
	if len(data) > maxOffer {
		return Offer{}, fmt.Errorf("RELP offer has %d bytes, and the limit is %d", len(data), maxOffer)
	}
	var o Offer
	seen := map[string]bool{}
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		if len(line) == 0 { // some peers begin or end each feature with a line feed
			continue
		}
		feature, value, _ := strings.Cut(string(line), "=")
		if err := o.set(feature, value); err != nil {
			return Offer{}, fmt.Errorf("RELP offer: %w", err)
		}
		if seen[feature] {
			return Offer{}, fmt.Errorf("RELP offer: %q is given twice", feature)
		}
		seen[feature] = true
	}
	if !seen["relp_version"] {
		return Offer{}, errors.New("RELP offer: relp_version is missing")
	}
	return o, nil
}

func (o *Offer) set(feature, value string) error {
	if len(feature) > maxFeature {
		return fmt.Errorf("a feature has a name of %d bytes, and the limit is %d", len(feature), maxFeature)
	}
	values := strings.Split(value, ",")
	if i := slices.IndexFunc(values, func(v string) bool { return len(v) > maxValue }); i >= 0 {
		return fmt.Errorf("%q has a value of %d bytes, and the limit is %d", feature, len(values[i]), maxValue)
	}
	switch feature {
	case "relp_version":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || len(value) > maxDigits {
			return fmt.Errorf("relp_version=%q is not a number", value)
		}
		o.Version = int(n)
	case "relp_software":
		o.Software = value
	case "commands":
		o.Commands = values
	}
	return nil
}
