package extent

import (
	"container/list"
	"sync"

	"github.com/datanode/datanode/node/internal/vfs"
)

// defaultOpenFiles bounds the files that are kept open. Calls in flight may hold more for a moment.
const defaultOpenFiles = 512

// handles keeps extent files open, the most recently used ones. It may close a file between any two
// uses, which is safe because no call lets go of a file that it has not synced.
type handles struct {
	fs    vfs.FS
	limit int

	mu   sync.Mutex
	open map[string]*handle
	idle list.List // of *handle with refs == 0, most recently used in front
}

type handle struct {
	file vfs.File
	name string
	refs int           // owned by handles.mu, like all below
	spot *list.Element // in idle
	gone bool          // forgotten: close with the last ref
}

func newHandles(fs vfs.FS, limit int) *handles {
	if limit <= 0 {
		limit = defaultOpenFiles
	}
	return &handles{fs: fs, limit: limit, open: map[string]*handle{}}
}

// acquire opens the file, or finds it open. The caller releases it.
func (c *handles) acquire(name string, readOnly bool) (*handle, error) {
	if h := c.reuse(name); h != nil {
		return h, nil
	}
	open := c.fs.OpenRW
	if readOnly {
		open = c.fs.OpenRead
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	if readOnly { // not kept, or a writer would find it
		return &handle{file: file, name: name, refs: 1, gone: true}, nil
	}
	return c.keep(name, file), nil
}

func (c *handles) reuse(name string) *handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.open[name]
	if h == nil {
		return nil
	}
	c.useLocked(h)
	return h
}

func (c *handles) useLocked(h *handle) {
	h.refs++
	if h.spot != nil {
		c.idle.Remove(h.spot)
		h.spot = nil
	}
}

// keep adds a file that was just opened, unless another call was faster.
func (c *handles) keep(name string, file vfs.File) *handle {
	c.mu.Lock()
	if h := c.open[name]; h != nil {
		c.useLocked(h)
		c.mu.Unlock()
		file.Close()
		return h
	}
	h := &handle{file: file, name: name, refs: 1}
	c.open[name] = h
	var old *handle
	if back := c.idle.Back(); back != nil && len(c.open) > c.limit {
		old = c.idle.Remove(back).(*handle)
		delete(c.open, old.name)
	}
	c.mu.Unlock()
	if old != nil {
		old.file.Close()
	}
	return h
}

func (c *handles) release(h *handle) {
	c.mu.Lock()
	h.refs--
	closing := h.refs == 0 && (h.gone || len(c.open) > c.limit)
	if h.refs == 0 && closing && !h.gone {
		delete(c.open, h.name)
	}
	if h.refs == 0 && !closing {
		h.spot = c.idle.PushFront(h)
	}
	c.mu.Unlock()
	if closing {
		h.file.Close()
	}
}

// forget closes the file if it is open, or lets its last user do so.
func (c *handles) forget(name string) {
	c.mu.Lock()
	h := c.open[name]
	if h == nil {
		c.mu.Unlock()
		return
	}
	delete(c.open, name)
	h.gone = true
	if h.spot != nil {
		c.idle.Remove(h.spot)
		h.spot = nil
	}
	closing := h.refs == 0
	c.mu.Unlock()
	if closing {
		h.file.Close()
	}
}

// closeAll closes every file. Nobody may be using one.
func (c *handles) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.open {
		h.file.Close()
	}
	clear(c.open)
	c.idle.Init()
}
