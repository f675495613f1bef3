package workerpool

// backlog is what failed flights leave, oldest first. The zero value is empty.
type backlog struct {
	list []segment
	head int
}

func (b *backlog) empty() bool { return b.head == len(b.list) }

func (b *backlog) push(s segment) {
	b.list, b.head = compact(b.list, b.head)
	b.list = append(b.list, s)
}

func (b *backlog) pop() segment {
	s := b.list[b.head]
	b.list[b.head] = segment{}
	if b.head++; b.empty() {
		b.list, b.head = b.list[:0], 0
	}
	return s
}
