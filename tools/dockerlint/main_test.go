package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDockerfileHasNoFaults(t *testing.T) {
	if err := lint("../../Dockerfile"); err != nil {
		t.Error(err)
	}
}

func TestFaultsAreFound(t *testing.T) {
	const whole = `FROM golang AS build
WORKDIR /src
COPY . .
FROM scratch
COPY --from=build /x /x
USER 1:1
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK CMD ["/x", "healthcheck"]
ENTRYPOINT ["/x"]
`
	for _, test := range []struct{ name, old, new, want string }{
		{"nothing wrong", "", "", ""},
		{"stage by number", "--from=build", "--from=0", ""},
		{"empty", whole, "", "no instructions"},
		{"no stage", whole, "ARG X\n", "no FROM"},
		{"unknown instruction", "EXPOSE", "EXPSE", "unknown instruction: EXPSE"},
		{"unknown flag", "--from", "--form", "unknown flag: --form"},
		{"keyword's case", " AS ", " as ", ":1: FromAsCasing"},
		{"deprecated", "USER 1:1", "USER 1:1\nMAINTAINER me", ":7: MaintainerDeprecated"},
		{"empty continuation", "EXPOSE 9000", "EXPOSE \\\n\n9000", "Empty continuation line"},
		{"unknown stage", "--from=build", "--from=builder", ":5: COPY --from=builder: no stage of that name"},
		{"later stage", "--from=build", "--from=1", "COPY --from=1: no stage"},
		{"relative directory", "/src", "src", ":2: WORKDIR src: not absolute"},
		{"entrypoint by a shell", `["/x"]`, `/x`, ":10: ENTRYPOINT: needs a shell"},
		{"command by a shell", `ENTRYPOINT`, "CMD x\nENTRYPOINT", ":10: CMD: needs a shell"},
		{"health check by a shell", `["/x", "healthcheck"]`, `/x healthcheck`, ":9: HEALTHCHECK: needs a shell"},
		{"root", "USER 1:1", "USER 0", ":6: USER 0: want a number other than 0"},
		{"user by name", "USER 1:1", "USER nobody", "USER nobody: want a number"},
		{"no user", "USER 1:1\n", "", ":4: the image has no USER"},
		{"no health check", "HEALTHCHECK", "LABEL a=b\n# ", "the image has no HEALTHCHECK"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "Dockerfile")
			if err := os.WriteFile(file, []byte(strings.Replace(whole, test.old, test.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			switch err := lint(file); {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
	if err := lint("/nonexistent"); err == nil {
		t.Error("no error without a file")
	}
}
