package target

import "strings"

// CutGroup cuts the name of a group from the start of a value such as archive=10.0.0.1:9999. It
// returns false, and the whole value, if there is none: in an address = stands behind a colon, a
// slash or a question mark only.
func CutGroup(value string) (group, address string, found bool) {
	at := strings.IndexAny(value, "=:/?[]")
	if at < 0 || value[at] != '=' {
		return "", value, false
	}
	return value[:at], value[at+1:], true
}
