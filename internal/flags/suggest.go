package flags

import "fmt"

// maxDistance is how many letters a suggestion may differ from the name that was written.
const maxDistance = 2

// suggest returns ": did you mean …?" with the nearest option, or nothing where none is near.
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

// nearest returns the name of the option whose name is nearest, or nothing where none is near.
func (s *Set) nearest(name string) string {
	var names []string
	for _, o := range s.options {
		names = append(names, o.Name)
	}
	return Nearest(name, names)
}

// Nearest returns the first of the names that differs least from one that was written, or nothing
// if all of them differ by more than two letters, or by as many as were written.
func Nearest(written string, names []string) (best string) {
	bestDistance := maxDistance + 1
	for _, name := range names {
		if d := distance(written, name); d < bestDistance && d < len(written) {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance returns how many letters to insert, delete or change to turn a into b (Levenshtein).
// Where the lengths differ too much it returns a number above maxDistance without counting.
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
