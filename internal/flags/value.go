package flags

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Options returns the table of options that was given to New.
func (s *Set) Options() []Option { return s.options }

// Has reports whether an option has a value. The option help has none.
func (s *Set) Has(name string) bool { return s.byName[name] != nil }

// Given reports whether the option was written anywhere, and is not at its default.
func (s *Set) Given(name string) bool { return s.Source(name) != FromDefault }

// Source returns where the option's value comes from.
func (s *Set) Source(name string) Source { return s.byName[name].source }

// Text returns the option's value as it was written, the last one of several.
func (s *Set) Text(name string) string { return s.byName[name].String() }

// Written returns all values that were written for the option, joined by commas, or its default.
func (s *Set) Written(name string) string {
	o := s.byName[name]
	if len(o.values) > 1 {
		return strings.Join(o.values, ",")
	}
	return o.String()
}

// List returns the entries of an option that is repeatable and comma separated. It records empty
// entries as a fault.
func (s *Set) List(name string) []string {
	o := s.byName[name]
	values := o.values
	if !s.Given(name) && o.Default != "" {
		values = []string{o.Default}
	}
	all := strings.Join(values, ",")
	if strings.Trim(all, ", ") == "" {
		return nil
	}
	entries := strings.Split(all, ",")
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	if slices.Contains(entries, "") {
		s.FailValue(name, all, errors.New("an empty entry: one comma too many?"))
	}
	return slices.DeleteFunc(entries, func(e string) bool { return e == "" })
}

// Parsed returns the option's value as parse reads it. Where parse fails, Parsed records the
// fault and returns the zero value.
func Parsed[T any](s *Set, name string, parse func(string) (T, error)) T {
	v, err := parse(s.Text(name))
	if err != nil && s.OK(name) {
		s.Fail(name, err)
	}
	return v
}

// Bool reads an option that is true or false. An option without a default that is not given is
// false.
func (s *Set) Bool(name string) bool {
	if s.leftOut(name) {
		return false
	}
	return Parsed(s, name, func(text string) (bool, error) {
		v, err := strconv.ParseBool(text)
		if err != nil {
			return false, errors.New("write true or false")
		}
		return v, nil
	})
}

// leftOut reports whether an option without a default was not given.
func (s *Set) leftOut(name string) bool { return s.Text(name) == "" && !s.Given(name) }

// Number reads a whole number from low to high.
func (s *Set) Number(name string, low, high int) int {
	return Parsed(s, name, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("write a whole number from %d to %d", low, high)
		}
		return n, nil
	})
}

// OptionalNumber reads a whole number from 1 to high. It returns 0 if the option is not given and
// has no default.
func (s *Set) OptionalNumber(name string, high int) int {
	if s.leftOut(name) {
		return 0
	}
	return s.Number(name, 1, high)
}

// Size reads a number of bytes from low to high.
func (s *Set) Size(name string, low, high int64) int64 {
	return Parsed(s, name, func(text string) (int64, error) {
		n, err := ParseSize(text)
		if err == nil && (n < low || n > high) {
			err = fmt.Errorf("out of bounds: write a size from %s to %s", sizeText(low), sizeText(high))
		}
		return n, err
	})
}

// OptionalSize reads a number of bytes from 1 to high. It returns 0 if the option is not given and
// has no default.
func (s *Set) OptionalSize(name string, high int64) int64 {
	if s.leftOut(name) {
		return 0
	}
	return s.Size(name, 1, high)
}

// ParseSize reads a number of bytes: 16384; 16KiB, 16Ki or 1.5MiB (1024s); 64KB or 64k (1000s).
func ParseSize(text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	// ParseBytes takes the comma of 1,5MiB for a thousands separator and would return 15 MiB.
	if err != nil || n > math.MaxInt64 || strings.Contains(text, ",") {
		return 0, errors.New("not a size: write bytes such as 16384, or 16KiB and 1MiB (1024s), or 64KB (1000s)")
	}
	return int64(n), nil
}

// Unambiguous returns a size with a single letter, such as 64M, in bytes: ParseSize takes such a
// letter for 1000s, but some programs take it for 1024s. It returns any other text as it is.
func Unambiguous(size string) string {
	unit := strings.TrimSpace(strings.TrimLeft(size, "0123456789."))
	if len(unit) != 1 || strings.EqualFold(unit, "b") {
		return size
	}
	n, err := ParseSize(size)
	if err != nil {
		return size
	}
	return strconv.FormatInt(n, 10)
}

func sizeText(n int64) string {
	return strings.NewReplacer(" ", "", ".0", "").Replace(humanize.IBytes(uint64(n)))
}

// Bounds of every duration. The upper bound keeps sums of times and durations from overflowing.
const (
	minDuration = time.Millisecond
	maxDuration = 365 * 24 * time.Hour
)

// Duration reads a duration from 1 ms to a year.
func (s *Set) Duration(name string) time.Duration { return Parsed(s, name, parseDuration) }

// DurationOrZero is Duration for an option that takes 0 as well.
func (s *Set) DurationOrZero(name string) time.Duration {
	return Parsed(s, name, func(text string) (time.Duration, error) {
		if d, err := time.ParseDuration(text); err == nil && d == 0 {
			return 0, nil
		}
		return parseDuration(text)
	})
}

// OptionalDuration is Duration for an option that may be empty. It returns 0 then.
func (s *Set) OptionalDuration(name string) time.Duration {
	if s.Text(name) == "" {
		return 0
	}
	return s.Duration(name)
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil && text != "" && strings.Trim(text, "0123456789.") == "" {
		return 0, fmt.Errorf("no unit: write %ss or %sms", text, text)
	}
	if err != nil {
		return 0, errors.New("not a duration: write 500ms, 30s, 5m or 1h30m")
	}
	if d < minDuration || d > maxDuration {
		return 0, errors.New("out of bounds: write a duration from 1ms to 8760h, a year")
	}
	return d, nil
}
