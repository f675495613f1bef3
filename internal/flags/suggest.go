package flags

import "fmt"

// maxDistance is the largest distance between a name that was written and a suggestion.
const maxDistance = 2

// suggest returns ": did you mean …?" with the prefix and the name of the nearest option, or "" if
// none is near.
func (s *Set) suggest(name, prefix string) string {
	if s.full() {
		return ""
	}
	best := s.nearest(name)
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s%s?", prefix, best)
}

// nearest returns the name of the nearest option, or "" if none is near.
func (s *Set) nearest(name string) string {
	var names []string
	for _, o := range s.options {
		names = append(names, o.Name)
	}
	return Nearest(name, names)
}

// Nearest returns the name that differs least from the one that was written; the first of several.
// It returns "" if every name differs by more than two letters, or by as many as were written.
func Nearest(written string, names []string) (best string) {
	bestDistance := maxDistance + 1
	for _, name := range names {
		if d := distance(written, name); d < bestDistance && d < len(written) {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance returns the number of bytes to insert, delete or change to turn a into b (Levenshtein).
// If the lengths differ by more than maxDistance, it returns maxDistance + 1.
func distance(a, b string) int {
	if d := len(a) - len(b); d > maxDistance || d < -maxDistance {
		return maxDistance + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
