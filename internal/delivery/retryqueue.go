package delivery

import "slices"

// retryQueue holds the segments that failed connections left, oldest first. The zero value is
// empty.
type retryQueue struct {
	list []segment
	head int
}

func (q *retryQueue) empty() bool { return q.head == len(q.list) }

func (q *retryQueue) oldest() *segment { return &q.list[q.head] }

func (q *retryQueue) push(s segment) {
	q.list, q.head = compact(q.list, q.head)
	q.list = append(q.list, s)
}

func (q *retryQueue) pop() segment {
	s := q.list[q.head]
	q.list[q.head] = segment{}
	if q.head++; q.empty() {
		q.list, q.head = q.list[:0], 0
	}
	return s
}

// advance moves the n newest segments to the front, in their order.
func (q *retryQueue) advance(n int) {
	all := q.list[q.head:]
	if n == 0 || n == len(all) {
		return
	}
	slices.Reverse(all[:len(all)-n])
	slices.Reverse(all[len(all)-n:])
	slices.Reverse(all)
}
