package service

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"linesplit/relay"
)

// The access log had numbers such as seconds=1.8418670000000001.
func TestSecondsHaveSixDecimalsAtMost(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		newAccessLog(format, "", &out).Log(relay.Record{Duration: 1841867 * time.Microsecond})
		if text := out.String(); !strings.Contains(text, "1.841867 ") && !strings.Contains(text, "1.841867,") {
			t.Errorf("%s: %s", format, text)
		}
	}
	for range 10_000 {
		d := time.Duration(rand.Int64N(int64(time.Hour)))
		_, decimals, _ := strings.Cut(strconv.FormatFloat(seconds(d), 'f', -1, 64), ".")
		if len(decimals) > 6 {
			t.Fatalf("%v: %v", d, seconds(d))
		}
	}
}
