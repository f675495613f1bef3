package flags

import "fmt"

// maxDistance is how many letters a suggestion may differ from the name that was written.
const maxDistance = 2

// suggest returns ": did you mean …?" with the nearest option, or nothing where none is near.
func (s *Set) suggest(name, prefix string) string {
	if s.full() {
		return ""
	}
	best, bestDistance := "", maxDistance+1
	for _, o := range s.options {
		if d := distance(name, o.Name); d < bestDistance {
			best, bestDistance = o.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s%s?", prefix, best)
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
