package node

import "container/list"

// fairQueue is a queue in which nobody waits behind all that another has put there: each sharer has a line of its own,
// and they take turns. The zero value is ready to use, with no room. It is not for more than one goroutine at a time.
type fairQueue[T any] struct {
	most     int // in all lines
	mostEach int // in one

	lines map[string]*fairLine[T]
	order list.List // of *fairLine[T]; the front is the next to have a turn
	size  int       // Invariant: the sum over lines, none of which is empty
}

type fairLine[T any] struct {
	sharer string
	items  list.List // of T
	place  *list.Element
}

// push adds to the end of a sharer's line. leave takes it out again, and tells whether it was still there; it is nil
// when the line, or the queue, is full.
func (q *fairQueue[T]) push(sharer string, item T) (leave func() bool) {
	line := q.lines[sharer]
	if q.size >= q.most || line != nil && line.items.Len() >= q.mostEach {
		return nil
	}
	if line == nil {
		if q.lines == nil {
			q.lines = map[string]*fairLine[T]{}
		}
		line = &fairLine[T]{sharer: sharer}
		line.place = q.order.PushBack(line)
		q.lines[sharer] = line
	}
	at := line.items.PushBack(item)
	q.size++
	gone := false
	return func() bool {
		if gone || at.Value == nil {
			return false
		}
		gone = true
		q.remove(line, at)
		return true
	}
}

// next takes the first item of the sharer whose turn it is, of those that may have one.
func (q *fairQueue[T]) next(may func(sharer string) bool) (sharer string, item T, ok bool) {
	for e := q.order.Front(); e != nil; e = e.Next() {
		line := e.Value.(*fairLine[T]) //nolint:forcetypeassert // there is nothing else in it
		if may != nil && !may(line.sharer) {
			continue
		}
		q.order.MoveToBack(e)
		at := line.items.Front()
		item = at.Value.(T) //nolint:forcetypeassert // nor here
		q.remove(line, at)
		return line.sharer, item, true
	}
	return "", item, false
}

func (q *fairQueue[T]) remove(line *fairLine[T], at *list.Element) {
	line.items.Remove(at)
	at.Value = nil // it has left
	q.size--
	if line.items.Len() == 0 {
		q.order.Remove(line.place)
		delete(q.lines, line.sharer)
	}
}
