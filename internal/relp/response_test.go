package relp

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestResponses(t *testing.T) {
	for want, r := range map[string]Response{
		"7 rsp 3 200\n":                      {200, nil, nil},
		"7 rsp 6 200 OK\n":                   {200, []byte("OK"), nil},
		"7 rsp 21 200 OK\nrelp_version=0\n":  {200, []byte("OK"), []byte("relp_version=0")},
		"7 rsp 6 500\na\n\n":                 {500, nil, []byte("a\n")},
		"7 rsp 84 500 " + pad(80) + "\n":     {500, []byte(pad(80)), nil},
		"7 rsp 23 500  command  disabled \n": {500, []byte(" command  disabled "), nil},
	} {
		if got := AppendResponse([]byte("x"), 7, r.Status, string(r.Text), r.Data); string(got) != "x"+want {
			t.Errorf("AppendResponse: %q, want %q after the x", got, want)
		}
		frames, err := readAll(strings.NewReader(want), 4096, 100)
		if len(frames) != 1 {
			t.Fatalf("%q: %v, %v", want, frames, err)
		}
		got, err := ParseResponse(frames[0].Data)
		if err != nil || got.Status != r.Status || !bytes.Equal(got.Text, r.Text) || !bytes.Equal(got.Data, r.Data) {
			t.Errorf("%q: %+v, %v; want %+v", want, got, err, r)
		}
	}
	got := AppendResponse(nil, 1, 500, "two\nlines"+pad(100), nil)
	if want := "1 rsp 84 500 two lines" + pad(71) + "\n"; string(got) != want {
		t.Errorf("a text that is no line: %q, want %q", got, want)
	}
}

func TestResponseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":        "has no status",
		"20":      "has no status",
		"2OO OK":  `"2OO" instead of a status`,
		" 200 OK": `" 20" instead of a status`,
		"-20 OK":  `"-20" instead of a status`,
		"2000 OK": `'0' instead of a space or a line feed after the status 200`,
		"200OK":   `'O' instead of a space or a line feed after the status 200`,
	} {
		if r, err := ParseResponse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want the error %s", in, r, err, want)
		}
	}
}

func TestOffers(t *testing.T) {
	for in, want := range map[string]Offer{
		"relp_version=0": {Version: 0},
		"relp_version=0\nrelp_software=x,1.2,https://example.com/\ncommands=syslog": {0, "x,1.2,https://example.com/", []string{"syslog"}},
		"relp_version=1\ncommands=eventlog,syslog":                                  {1, "", []string{"eventlog", "syslog"}},
	} {
		got, err := ParseOffer([]byte(in))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
		if written := got.Append([]byte("x")); string(written) != "x"+in {
			t.Errorf("%q is written as %q", in, written)
		}
	}
	for in, want := range map[string]Offer{
		"\nrelp_version=0\n\ncommands=syslog\n":        {0, "", []string{"syslog"}},
		"commands=syslog\nrelp_version=000\nx\ny=z,=1": {0, "", []string{"syslog"}},
	} {
		got, err := ParseOffer([]byte(in))
		if err != nil || !reflect.DeepEqual(got, want) || !got.Has(Syslog) || got.Has("sys") {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestOfferErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "relp_version is missing",
		"commands=syslog":                 "relp_version is missing",
		"relp_version":                    `relp_version="" is not a number`,
		"relp_version=-1":                 `relp_version="-1" is not a number`,
		"relp_version=1234567890":         `relp_version="1234567890" is not a number`,
		"relp_version=0\nrelp_version=1":  `"relp_version" is given twice`,
		"relp_version=0\na\na":            `"a" is given twice`,
		"relp_version=0\n" + pad(33):      "a name of 33 bytes",
		"relp_version=0\na=b," + pad(256): `"a" has a value of 256 bytes`,
		pad(4097):                         "RELP offer has 4097 bytes",
	} {
		if o, err := ParseOffer([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want the error %s", in, o, err, want)
		}
	}
}
