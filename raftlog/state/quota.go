package state

import (
	"math"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// QuotaBy is what a quota goes by. Numbered by hand: part of the snapshot format.
type QuotaBy uint8

const (
	QuotaByClass    QuotaBy = 1
	QuotaByIdentity QuotaBy = 2
)

func (b QuotaBy) String() string { return name([]string{"", "class", "identity"}, uint8(b)) }

const (
	// KeyQuotas is the setting of the quotas.
	KeyQuotas = "quotas"

	noQuotas  = "none"
	eachOne   = "*"
	maxQuotas = 256
	// Unbounded is the limit of a quota that does not have one.
	Unbounded = math.MaxUint64
)

// Quota bounds what the cell keeps of one class, or of one identity: extents that are not deleted, and their bytes,
// however many replicas these have.
type Quota struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	By      QuotaBy
	Each    bool   // of every one that has no quota of its own, for itself; Name is empty then
	Name    string // the class, or the identity
	Bytes   uint64 // Unbounded: any
	Extents uint64 // Unbounded: any
}

// Usage is how much is kept.
type Usage struct{ Extents, Bytes uint64 }

// usage is what an extent counts for, without the bytes that are deleted of it. Those of one that is not sealed are not
// known to the log.
func (e *Extent) usage() Usage {
	switch {
	case e.State == ExtentCreating, e.State == ExtentOpen:
		return Usage{Extents: 1}
	case e.Final():
		return Usage{Extents: 1, Bytes: e.Length - min(e.Punched, e.Length)}
	}
	return Usage{}
}

// recount brings the usages up to date when an extent's changes from was. Class and owner never do.
func (s *State) recount(e *Extent, was, is Usage) {
	if was == is {
		return
	}
	change := Usage{is.Extents - was.Extents, is.Bytes - was.Bytes} // below 0 it wraps around, and the sum does again
	addUsage(s.byClass, e.Class, change)
	if e.Owner != "" {
		addUsage(s.byOwner, string(e.Owner), change)
	}
}

func addUsage(of usages, name string, change Usage) {
	u, _ := of.Get(name)
	u.Extents, u.Bytes = u.Extents+change.Extents, u.Bytes+change.Bytes
	if u == (Usage{}) {
		of.Delete(name)
		return
	}
	of.Set(name, u)
}

// Whose is whose an extent is that c creates: whoever asks for it, or for whom the cell does.
func (c *Admit) Whose() Identity {
	if c.Origin == policies.OriginUser {
		return c.AskedBy
	}
	return c.Owner
}

func (v *View) usagesBy(by QuotaBy) usages {
	if by == QuotaByIdentity {
		return v.byOwner
	}
	return v.byClass
}

// Used is how much of its quota a class or identity uses, except the bytes of extents that are not sealed.
func (v *View) Used(by QuotaBy, name string) Usage {
	u, _ := v.usagesBy(by).Get(name)
	return u
}

// EachUsed goes through the classes or identities of which something is kept, by name.
func (v *View) EachUsed(by QuotaBy, yield func(name string, u Usage) bool) {
	v.usagesBy(by).Scan(yield)
}

// QuotaOf is the quota that bounds a class or identity, with its own name; ok is false when none does.
func (s *Settings) QuotaOf(by QuotaBy, name string) (q Quota, ok bool) {
	for _, other := range s.Quotas {
		switch {
		case other.By != by:
		case other.Each:
			q, ok = other, true
			q.Each, q.Name = false, name
		case other.Name == name:
			return other, true
		}
	}
	return q, ok
}

// QuotasOf are those that bound an extent of this class and owner.
func (s *Settings) QuotasOf(class string, owner Identity) (all []Quota) {
	if len(s.Quotas) == 0 {
		return nil
	}
	if q, ok := s.QuotaOf(QuotaByClass, class); ok {
		all = append(all, q)
	}
	if q, ok := s.QuotaOf(QuotaByIdentity, string(owner)); ok && owner != "" {
		all = append(all, q)
	}
	return all
}

// CheckExtent refuses one more extent of this class and owner if a quota does not allow it: too many are there, or as
// many bytes as there may be, so that it could not be written to.
func (v *View) CheckExtent(class string, owner Identity) *wire.Error {
	for _, q := range v.Settings.QuotasOf(class, owner) {
		used := v.Used(q.By, q.Name)
		if used.Extents >= q.Extents {
			return refuse(wire.CodeQuota, "%s uses %d of %d extents; delete something or raise the quota (settings set %s)",
				q.Whose(), used.Extents, q.Extents, KeyQuotas)
		}
		if err := q.CheckBytes(used.Bytes, 1); err != nil {
			return err
		}
	}
	return nil
}

// CheckBytes refuses more bytes than are left of q when so many are used.
func (q *Quota) CheckBytes(used, more uint64) *wire.Error {
	if used <= q.Bytes && more <= q.Bytes-used {
		return nil
	}
	return refuse(wire.CodeQuota,
		"%s uses %s of %s bytes, and %s more are wanted; delete something or raise the quota (settings set %s)",
		q.Whose(), Roughly(used), Roughly(q.Bytes), Roughly(more), KeyQuotas)
}

// Whose is what a quota bounds, for people: "class logs", "client/backup".
func (q *Quota) Whose() string {
	switch {
	case q.Each:
		return "each " + q.By.String()
	case q.By == QuotaByIdentity:
		return q.Name
	case q.Name == "":
		return "what has no class"
	}
	return "class " + q.Name
}

// CheckQuotas refuses settings with a quota that is both lower than it was and below what is used. One that is exceeded
// already may stay as it is, or be raised to less than what is used: neither takes anything from anybody. unsealed is
// what the log does not count.
func (v *View) CheckQuotas(next *Settings, unsealed func(*Quota) uint64) (refusal *wire.Error) {
	for _, by := range []QuotaBy{QuotaByClass, QuotaByIdentity} {
		v.EachUsed(by, func(name string, used Usage) bool {
			q, bounded := next.QuotaOf(by, name)
			if !bounded {
				return true
			}
			old, was := v.Settings.QuotaOf(by, name)
			if !was {
				old.Bytes, old.Extents = Unbounded, Unbounded
			}
			used.Bytes += unsealed(&q)
			if q.Bytes < used.Bytes && q.Bytes < old.Bytes || q.Extents < used.Extents && q.Extents < old.Extents {
				refusal = refuse(wire.CodeQuota,
					"%s uses %d bytes in %d extents, and the quota would be %s; allow that much at least, or delete something first",
					q.Whose(), used.Bytes, used.Extents, q.Limits())
			}
			return refusal == nil
		})
	}
	return refusal
}
