package config

import (
	"strings"
	"testing"
)

// A fault of a check named its flag twice, -health "ping": -health "ping":, did not say where the
// value came from, and doubled the backslashes of a regular expression, which makes another one.
func TestFaultsOfChecks(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{`-health ping -health-send x`, `-health "ping": there are tcp, tls, http, send-expect, redis, mysql and exec`},
		{`-health send-expect -health-expect ^220\d+(`,
			"-health-expect \"^220\\d+(\": not a regular expression: error parsing regexp: missing closing ): `^220\\d+(`"},
		{`-health http -health-send secret`, `-health-send: only valid with -health send-expect`},
		{`-health tcp -health-path /x`, `-health-path "/x": only valid with -health http`},
		{`-health send-expect`, `-health-expect: -health send-expect needs it: write a regular expression that a good answer matches, such as ^220`},
	} {
		clearEnv(t)
		if _, err := Parse(strings.Fields(test.args)); err == nil || err.Error() != test.want {
			t.Errorf("%s:\n%v\nwant\n%s", test.args, err, test.want)
		}
	}
	clearEnv(t)
	t.Setenv("LINESPLIT_HEALTH", "ping")
	want := `-health "ping" from the environment variable LINESPLIT_HEALTH: there are`
	if _, err := Parse(nil); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
