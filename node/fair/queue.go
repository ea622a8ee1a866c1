package fair

import "container/list"

// Queue is a queue in which nobody waits behind all that another has put there: each sharer has a line of its own,
// and they take turns. The zero value is ready to use, with no room. It is not for more than one goroutine at a time.
type Queue[T any] struct {
	Most     int // in all lines
	MostEach int // in one

	lines map[string]*line[T]
	order list.List // of *line[T]; the front is the next to have a turn
	size  int       // Invariant: the sum over lines, none of which is empty
}

type line[T any] struct {
	sharer string
	items  list.List // of T
	place  *list.Element
}

// Push adds to the end of a sharer's line. leave takes it out again, and reports whether it was still there; it is nil
// when the line, or the queue, is full.
func (q *Queue[T]) Push(sharer string, item T) (leave func() bool) {
	l := q.lines[sharer]
	if q.size >= q.Most || l != nil && l.items.Len() >= q.MostEach {
		return nil
	}
	if l == nil {
		if q.lines == nil {
			q.lines = map[string]*line[T]{}
		}
		l = &line[T]{sharer: sharer}
		l.place = q.order.PushBack(l)
		q.lines[sharer] = l
	}
	at := l.items.PushBack(item)
	q.size++
	gone := false
	return func() bool {
		if gone || at.Value == nil {
			return false
		}
		gone = true
		q.remove(l, at)
		return true
	}
}

// Next takes the first item of the sharer whose turn it is, of those that may have one.
func (q *Queue[T]) Next(may func(sharer string) bool) (sharer string, item T, ok bool) {
	for e := q.order.Front(); e != nil; e = e.Next() {
		l := e.Value.(*line[T]) //nolint:forcetypeassert // there is nothing else in it
		if may != nil && !may(l.sharer) {
			continue
		}
		q.order.MoveToBack(e)
		at := l.items.Front()
		item = at.Value.(T) //nolint:forcetypeassert // nor here
		q.remove(l, at)
		return l.sharer, item, true
	}
	return "", item, false
}

func (q *Queue[T]) remove(l *line[T], at *list.Element) {
	l.items.Remove(at)
	at.Value = nil // it has left
	q.size--
	if l.items.Len() == 0 {
		q.order.Remove(l.place)
		delete(q.lines, l.sharer)
	}
}

// Len is how many items wait in all lines.
func (q *Queue[T]) Len() int { return q.size }
