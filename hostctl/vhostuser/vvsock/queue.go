package vvsock

// queue is a first-in-first-out list that reuses its memory.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int  { return len(q.items) - q.head }
func (q *queue[T]) first() *T { return &q.items[q.head] }

func (q *queue[T]) push(v T) {
	if q.head > 0 && len(q.items) == cap(q.items) { // move up instead of growing
		q.items = q.items[:copy(q.items, q.items[q.head:])]
		q.head = 0
	}
	q.items = append(q.items, v)
}

func (q *queue[T]) pop() T {
	v := q.items[q.head]
	var zero T
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.clear()
	}
	return v
}

func (q *queue[T]) clear() { q.items, q.head = q.items[:0], 0 }
