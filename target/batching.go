package target

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// What becomes of a line that a target refuses for good; see Batching.Reject.
const (
	RejectFile  = "file"  // it is written to the dead-letter file
	RejectDrop  = "drop"  // it is dropped
	RejectBlock = "block" // it is sent again and again, and the lines behind it wait
)

// Batching says how lines are sent to a target that acknowledges batches of them. Zero values mean
// the documented defaults. It is comparable, as Address is.
type Batching struct {
	Bytes  int           // of lines in a batch, at most; 0 means 1 MiB. A longer line is a batch of its own
	Lines  int           // in a batch, at most; 0 means 100,000, and 2048 with Lumberjack
	Linger time.Duration // from the first line of a batch to its sending, at most; 0 means 50 ms
	// Timeout is the time for one request with its answer, or between two responses of RELP; 0
	// means 30 s.
	Timeout time.Duration

	// The fields below down to Query are for targets that take HTTP requests, and Compress for
	// those with Lumberjack, too.

	// Compress is the content coding of requests, "gzip" or "zstd", and "zlib" with Lumberjack;
	// empty means none.
	Compress string
	// TokenFile is a file with the credentials for the Authorization header; empty means none.
	TokenFile string
	// Headers are further headers, one "Name: value" per line.
	Headers string
	// IDHeader is the header that identifies a batch; empty means X-Batch-Id.
	IDHeader string
	// Query is the query of the URL, as it stands behind its question mark.
	Query string

	// Reject is RejectFile, RejectDrop or RejectBlock; empty means RejectFile where there is a
	// dead-letter file, and otherwise RejectDrop.
	Reject string
}

// The defaults and limits of Batching.
const (
	defaultBatch   = 1 << 20
	maxBatchBytes  = 64 << 20
	maxBatchLines  = 100_000
	defaultLinger  = 50 * time.Millisecond
	maxLinger      = time.Minute
	defaultTimeout = 30 * time.Second
	maxTimeout     = 10 * time.Minute
	defaultIDName  = "X-Batch-Id"
)

// WithDefaults returns b with the defaults in place of zero values, but for Reject.
func (b Batching) WithDefaults() Batching {
	b.Bytes = cmp.Or(b.Bytes, defaultBatch)
	b.Lines = cmp.Or(b.Lines, maxBatchLines)
	b.Linger = cmp.Or(b.Linger, defaultLinger)
	b.Timeout = cmp.Or(b.Timeout, defaultTimeout)
	b.IDHeader = cmp.Or(b.IDHeader, defaultIDName)
	return b
}

// batchOptions returns the options of Batching that are valid for a, for people.
func (a Address) batchOptions() string {
	const all = "batch-bytes=1MiB, batch-lines=1000, linger=50ms, timeout=30s"
	switch {
	case a.Lumberjack():
		return all + ", compress=zlib"
	case a.RELP():
		return all + ", reject=file"
	}
	return all + ", compress=zstd, token-file=FILE, header=NAME:VALUE, id-header=NAME, reject=file, query=TEXT for the server"
}

// checkBatching returns an error for options of Batching that the protocol of a has no use for.
func (a Address) checkBatching() error {
	b := a.Batching
	coded := slices.Contains([]string{"gzip", "zstd"}, b.Compress) && a.takesRequests() || b.Compress == "zlib" && a.Lumberjack()
	for _, o := range []struct {
		name  string
		given bool
		valid bool
	}{
		{"compress=" + b.Compress, b.Compress != "", coded},
		{"token-file", b.TokenFile != "", a.takesRequests()},
		{"header", b.Headers != "", a.takesRequests()},
		{"id-header", b.IDHeader != "", a.takesRequests()},
		{"query", b.Query != "", a.takesRequests()},
		{"reject", b.Reject != "", !a.Lumberjack()},
	} {
		if o.given && !o.valid {
			return fmt.Errorf("%s has no meaning for a %s target: use %s", o.name, a.Scheme, a.batchOptions())
		}
	}
	return nil
}

// setOption sets an option of Batching. It reports whether there is one with that name.
func (b *Batching) setOption(key string, values []string) (known bool, err error) {
	value := values[0]
	switch key {
	case "batch-bytes":
		b.Bytes, err = parseBytes(key, value)
	case "batch-lines":
		b.Lines, err = parseNumber(key, value, maxBatchLines)
	case "linger":
		b.Linger, err = parseTime(key, value, time.Millisecond, maxLinger)
	case "timeout":
		b.Timeout, err = parseTime(key, value, 100*time.Millisecond, maxTimeout)
	case "compress":
		b.Compress, err = parseChoice(key, value, "gzip", "zstd", "zlib")
	case "token-file":
		b.TokenFile = value
		if value == "" {
			err = errors.New("token-file names no file")
		}
	case "header":
		b.Headers, err = parseHeaders(values)
	case "id-header":
		b.IDHeader, err = parseIDHeader(value)
	case "query":
		b.Query = value
		if _, err = url.ParseQuery(value); err != nil {
			err = fmt.Errorf("query=%q: %w", value, err)
		} else if strings.ContainsFunc(value, notInURL) {
			err = fmt.Errorf("query=%q has characters that URLs have not: escape them twice, such as %%2520 for a space", value)
		}
	case "reject":
		b.Reject, err = parseChoice(key, value, RejectFile, RejectDrop, RejectBlock)
	default:
		return false, nil
	}
	return true, err
}

// written returns the options that differ from the defaults, as they are written.
func (b Batching) written() (options []string) {
	add := func(given bool, key string, value any) {
		if given {
			options = append(options, key+"="+url.QueryEscape(fmt.Sprint(value)))
		}
	}
	add(b.Bytes > 0, "batch-bytes", b.Bytes)
	add(b.Lines > 0, "batch-lines", b.Lines)
	add(b.Linger > 0, "linger", b.Linger)
	add(b.Timeout > 0, "timeout", b.Timeout)
	add(b.Compress != "", "compress", b.Compress)
	add(b.TokenFile != "", "token-file", b.TokenFile)
	for header := range strings.Lines(b.Headers) {
		add(true, "header", strings.TrimSuffix(header, "\n"))
	}
	add(b.IDHeader != "", "id-header", b.IDHeader)
	add(b.Query != "", "query", b.Query)
	add(b.Reject != "", "reject", b.Reject)
	return options
}

func parseBytes(key, value string) (int, error) {
	n, err := humanize.ParseBytes(value)
	if err != nil || n < 1<<10 || n > maxBatchBytes {
		return 0, fmt.Errorf("%s=%q is not a size from 1KiB to 64MiB: write %s=1MiB", key, value, key)
	}
	return int(n), nil
}

func parseTime(key, value string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("%s=%q is not a duration from %v to %v", key, value, least, most)
	}
	return d, nil
}

func parseChoice(key, value string, choices ...string) (string, error) {
	if slices.Contains(choices, value) {
		return value, nil
	}
	return "", fmt.Errorf("%s=%q is none of %s", key, value, strings.Join(choices, ", "))
}

// ownHeaders are set by linesplit, or by HTTP itself.
var ownHeaders = map[string]string{
	"Authorization":     "give it a token-file",
	"Content-Encoding":  "use compress",
	"Content-Length":    "it is that of the batch",
	"Transfer-Encoding": "a batch has a length",
	"Connection":        "connections are kept",
	"Host":              "it is that of the target",
	"X-Batch-Id":        "use id-header to choose another name for the ID of a batch",
	"Idempotency-Key":   "with it, requests would be repeated unnoticed; use id-header",
	"X-Idempotency-Key": "with it, requests would be repeated unnoticed; use id-header",
}

func parseHeaders(values []string) (string, error) {
	var all []string
	for _, v := range values {
		name, text, found := strings.Cut(v, ":")
		if !found {
			return "", fmt.Errorf("header=%q has no colon: write header=NAME:VALUE", v)
		}
		if err := checkHeader(name); err != nil {
			return "", fmt.Errorf("header=%q: %w", v, err)
		}
		text = strings.TrimSpace(text)
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", fmt.Errorf("header=%q has control characters", v)
		}
		all = append(all, textproto.CanonicalMIMEHeaderKey(name)+":"+text)
	}
	return strings.Join(all, "\n"), nil
}

func parseIDHeader(value string) (string, error) {
	if err := checkHeader(value); err != nil {
		return "", fmt.Errorf("id-header=%q: %w", value, err)
	}
	return textproto.CanonicalMIMEHeaderKey(value), nil
}

// checkHeader returns an error for what is no name of a header (RFC 9110, 5.6.2), or of one that
// cannot be chosen.
func checkHeader(name string) error {
	const others = "!#$%&'*+-.^_`|~"
	bad := func(r rune) bool {
		return r >= 0x80 || !strings.ContainsRune(others, r) && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
	}
	if name == "" || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%q is no name of a header", name)
	}
	if why := ownHeaders[textproto.CanonicalMIMEHeaderKey(name)]; why != "" {
		return fmt.Errorf("%s cannot be chosen: %s", name, why)
	}
	return nil
}
