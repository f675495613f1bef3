package config

import (
	"slices"
	"strings"
	"testing"

	"linesplit/target"
)

func TestGroups(t *testing.T) {
	c := mustParse(t, "-target", "a:1,b:1", "-memory", "64MiB",
		"-group", "archive=c:1?weight=2&required=false,tls://d:1?via-proxy=true", "-group", "audit=e:1",
		"-group", "metrics=f:1?required=false&budget=1MiB")
	want := []Group{{"archive", false, 8 << 20}, {"audit", true, 0}, {"metrics", false, 1 << 20}}
	if !slices.Equal(c.Groups, want) {
		t.Errorf("%+v, want %+v", c.Groups, want)
	}
	for group, names := range map[string][]string{
		MainGroup: {"tcp://a:1", "tcp://b:1"}, "archive": {"tcp://c:1", "tls://d:1?via-proxy=true"},
		"audit": {"tcp://e:1"}, "metrics": {"tcp://f:1"}, "none": nil,
	} {
		var got []string
		for _, a := range InGroup(c.Targets, group) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, names) {
			t.Errorf("%s: %v, want %v", group, got, names)
		}
	}
	if got := c.WriteGroups(c.Targets); got != "archive=tcp://c:1?weight=2,tls://d:1?via-proxy=true&required=false&budget=8388608B,"+
		"audit=tcp://e:1,metrics=tcp://f:1?required=false&budget=1048576B" {
		t.Error(got)
	}
	again := mustParse(t, "-target", "a:1,b:1", "-memory", "64MiB", "-group", c.WriteGroups(c.Targets))
	if !slices.Equal(again.Groups, c.Groups) || len(again.Targets) != len(c.Targets) {
		t.Errorf("written and read again: %+v", again.Groups)
	}
	if changed, needRestart := Diff(c, again); len(needRestart) > 0 || !slices.Equal(changed, []string{"group"}) {
		t.Errorf("written in another way: changed %v, need a restart %v", changed, needRestart)
	}
}

func TestBadGroups(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want []string
	}{
		{"named twice", []string{"-group", "x=a:1", "-group", "x=b:1"}, []string{`-group "x=b:1": the group x is named twice`}},
		{"the name of -target's", []string{"-group", "main=a:1"}, []string{`-group "main=a:1": main is the group of -target`}},
		{"no name", []string{"-group", "a:1"}, []string{`-group "a:1": no name: write NAME=ADDRESS`}},
		{"empty name", []string{"-group", "=a:1"}, []string{`-group "=a:1": the name "": use letters`}},
		{"bad name", []string{"-group", "x y=a:1"}, []string{`the name "x y": use letters`}},
		{"no address", []string{"-group", "x="}, []string{`-group "x="`}},
		{"bad address", []string{"-group", "x=a:1,b"}, []string{`-group "b": `}},
		{"in two groups", []string{"-target", "a:1", "-group", "x=b:1,a:1"}, []string{`-group "a:1": the address is in the group main already`}},
		{"twice in a group", []string{"-group", "x=b:1,tls://b:1"}, []string{`-group "tls://b:1": the address is in the group x already`}},
		{"not a boolean", []string{"-group", "x=b:1?required=no"}, []string{`required="no" is neither true nor false`}},
		{"option twice", []string{"-group", "x=b:1?required=false&required=false"}, []string{`option required is given twice`}},
		{"budget of a required group", []string{"-group", "x=b:1?budget=1MiB"}, []string{`-group "x": a required group has no budget`}},
		{"no budget", []string{"-group", "x=b:1?required=false&budget=5"}, []string{`at least 64KiB`}},
		{"too much", []string{"-memory", "4MiB", "-group", "x=b:1?required=false&budget=3MiB"}, []string{`the budgets are 3145728 bytes in sum: may be at most half of -memory`}},
		{"options of connection mode", []string{"-group", "x=b:1?max-connections=2"}, []string{`-group "tcp://b:1": ?max-connections is only valid`}},
		{"a bad source", []string{"-group", "x=dns://b"}, []string{`-group "x=dns://b": no port: write b:PORT`}},
		{"a source in two groups", []string{"-target", "dns://b:1", "-group", "x=c:1,dns://b:1?weight=2"}, []string{`-group "dns://b:1?weight=2": the source is in the group main already`}},
		{"a source twice", []string{"-group", "x=dns://b:1,dns://b:1"}, []string{`-group "dns://b:1": the source is in the group x already`}},
		{"a source of datagrams", []string{"-group", "x=dns://b:1?scheme=udp"}, []string{`-group "dns://b:1?scheme=udp": a udp:// target is only valid`}},
		{"connection mode", []string{"-mode", "connection", "-group", "x=b:1"}, []string{`-group "x=b:1": only valid with -mode line`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			_, err := Parse(test.args)
			checkErrors(t, err, test.want)
		})
	}
}

// Lines with keys go to several groups, too.
func TestGroupsWithKeys(t *testing.T) {
	for _, key := range []string{"json:host", "connection"} {
		if c := mustParse(t, "-key", key, "-group", "x=b:1", "-group", "y=c:1?required=false"); len(c.Groups) != 2 || c.Keys.Rule == nil {
			t.Errorf("%s: %+v, %+v", key, c.Groups, c.Keys)
		}
	}
}

// Groups take sources, and a reload changes which.
func TestSourcesOfGroups(t *testing.T) {
	clearEnv(t)
	const archive = "archive=dns://b:1?refresh=5s&required=false&budget=1MiB,c:1,discover+http://d/list?x=1"
	c := mustParse(t, "-target", "dns://a:1", "-group", archive, "-resolver", "10.0.0.53")
	if got := c.SourceNames(MainGroup); !slices.Equal(got, []string{"dns://a:1"}) {
		t.Errorf("main: %q", got)
	}
	if got := c.SourceNames("archive"); !slices.Equal(got, []string{"dns://b:1?refresh=5s", "discover+http://d/list?x=1"}) {
		t.Errorf("archive: %q", got)
	}
	if c.Sources[1].Sample().Group != "archive" || c.Groups[0].Budget != 1<<20 || len(c.Targets) != 1 {
		t.Errorf("%+v, %+v, %v", c.Sources, c.Groups, c.Targets)
	}
	again := mustParse(t, "-target", c.WriteTargets(c.Targets), "-group", c.WriteGroups(c.Targets), "-resolver", "10.0.0.53")
	if !slices.Equal(again.Groups, c.Groups) || len(again.Sources) != 3 || again.Sources[2].Group() != "archive" {
		t.Errorf("written as %s and read again: %+v", c.WriteGroups(c.Targets), again.Sources)
	}
	next := mustParse(t, "-target", "dns://a:1", "-group", archive+",srv://e", "-resolver", "10.0.0.53")
	changed, needRestart := Diff(c, next)
	if kept := next.Keeping(c, needRestart); !slices.Equal(changed, []string{"group"}) || len(needRestart) > 0 || len(kept.Sources) != 4 {
		t.Errorf("another source: changed %v, need a restart %v, kept %v", changed, needRestart, kept.Sources)
	}
	next = mustParse(t, "-target", "dns://a:1", "-group", "archive=c:1?required=false&budget=1MiB", "-group", "audit=dns://b:1?refresh=5s",
		"-resolver", "10.0.0.53")
	_, needRestart = Diff(c, next)
	if kept := next.Keeping(c, needRestart); !slices.Equal(kept.SourceNames("archive"), c.SourceNames("archive")) || len(kept.Sources) != 3 {
		t.Errorf("another group: need a restart %v, kept %v", needRestart, kept.Sources)
	}
}

// A source that moves to another group needs a restart, as a target does.
func TestSourceThatChangesGroups(t *testing.T) {
	clearEnv(t)
	old := mustParse(t, "-target", "a:1,dns://b:1", "-group", "archive=c:1")
	next := mustParse(t, "-target", "a:1", "-group", "archive=c:1,dns://b:1")
	changed, needRestart := Diff(old, next)
	if len(needRestart) != 1 || !strings.HasPrefix(needRestart[0], "target dns://b:1 (group,") {
		t.Errorf("changed %v, need a restart %v", changed, needRestart)
	}
	if kept := next.Keeping(old, needRestart); !slices.Equal(kept.SourceNames(MainGroup), []string{"dns://b:1"}) {
		t.Errorf("kept %v", kept.Sources)
	}
}

func FuzzGroupEntry(f *testing.F) {
	for _, entry := range []string{"archive=h:1?weight=2&required=false", "h:1", "=h:1", "x=unix:///a?b=c&budget=1MiB", "a=b=c", "?required=1&&x"} {
		f.Add(entry)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		e, err := parseGroupEntry(entry)
		if err != nil {
			return
		}
		if e.name != "" && !validGroupName.MatchString(e.name) {
			t.Errorf("%q: name %q", entry, e.name)
		}
		rest, options, err := cutGroupOptions(e.address)
		if err != nil || len(options) > 0 || rest != e.address {
			t.Errorf("%q: %q still has options %v, error %v", entry, e.address, options, err)
		}
	})
}

func TestTargetsAreAddedToGroups(t *testing.T) {
	c := mustParse(t, "-target", "a:1", "-group", "archive=c:1")
	for address, group := range map[string]string{"x:1": "", "main=x:1": "", "archive=x:1?weight=2": "archive"} {
		if a, err := c.ParseTarget(address); err != nil || a.Group != group || a.Host != "x:1" {
			t.Errorf("%s: %+v, %v", address, a, err)
		}
	}
	for _, address := range []string{"none=x:1", "archive=x", "archive=x:1?required=false", "archive=dns://x:1", "dns://x:1"} {
		if a, err := c.ParseTarget(address); err == nil {
			t.Errorf("%s: %+v", address, a)
		}
	}
}

func TestReloadsOfGroups(t *testing.T) {
	old := mustParse(t, "-target", "a:1", "-group", "archive=c:1")
	next := mustParse(t, "-target", "a:1", "-group", "archive=c:1,d:1")
	changed, needRestart := Diff(old, next)
	if !slices.Equal(changed, []string{"group"}) || len(needRestart) > 0 {
		t.Errorf("another target: changed %v, need a restart %v", changed, needRestart)
	}
	next = mustParse(t, "-target", "a:1,b:1", "-group", "archive=c:1?required=false", "-group", "audit=d:1")
	changed, needRestart = Diff(old, next)
	if !slices.Equal(changed, []string{"target"}) || !slices.Equal(needRestart, []string{"group"}) {
		t.Errorf("another group: changed %v, need a restart %v", changed, needRestart)
	}
	kept := next.Keeping(old, needRestart)
	if !slices.Equal(kept.Groups, old.Groups) || len(InGroup(kept.Targets, "archive")) != 1 || len(kept.Targets) != 3 {
		t.Errorf("kept %+v, %+v", kept.Groups, kept.Targets)
	}
	var none []target.Address
	if got := InGroup(none, MainGroup); got != nil {
		t.Error(got)
	}
}
