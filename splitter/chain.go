package splitter

// chain is a list of connections of one kind, the newest first. Its owner guards it.
type chain[T any, P linked[T]] struct{ newest P }

// links are the neighbours of a connection in its chain.
type links[T any] struct{ prev, next *T }

// neighbours gives a chain the links of a connection, which embeds them.
func (l *links[T]) neighbours() *links[T] { return l }

type linked[T any] interface {
	*T
	neighbours() *links[T]
}

func (c *chain[T, P]) add(x P) {
	if c.newest != nil {
		c.newest.neighbours().prev = x
	}
	x.neighbours().next = c.newest
	c.newest = x
}

func (c *chain[T, P]) remove(x P) {
	l := x.neighbours()
	if l.prev != nil {
		P(l.prev).neighbours().next = l.next
	} else {
		c.newest = l.next
	}
	if l.next != nil {
		P(l.next).neighbours().prev = l.prev
	}
	*l = links[T]{}
}
