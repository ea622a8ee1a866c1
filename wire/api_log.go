package wire

// PolicyLoadRequest brings a module into the cell; its bytes follow as chunks. The reply is a Policy.
// Config is what the policy is given; empty for its own defaults.
type PolicyLoadRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Length uint64
	Config map[string]string
}

// PolicyRequest names a policy by digest ("sha256:…"); any unique prefix of the hex digits will do.
type PolicyRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Digest string
}

// Policy describes a loaded policy.
type Policy struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Digest   string   `json:"digest"`
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Bytes    uint64   `json:"bytes"`
	State    string   `json:"state"` // "active", "previous", "loaded"
	Compiled []string `json:"compiled_on"`
	Reasons  []string `json:"reasons,omitempty"`
	// Module is the digest of the bytes; Digest is that of module and configuration where there is one.
	Module string            `json:"module"`
	Config map[string]string `json:"config,omitempty"`
	// Counters are what it has counted on CountedOn, the node that answers, since it was last compiled there.
	Counters  map[string]int64 `json:"counters,omitempty"`
	CountedOn string           `json:"counted_on,omitempty"`
}

// PoliciesReply lists the loaded policies.
type PoliciesReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Epoch    uint64
	Policies []Policy
}

// LogRequest asks one node for entries From to To, or the newest Limit when From is 0.
type LogRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  string // whose log; empty: the asked node's
	From  uint64
	To    uint64
	Limit int
	Skip  int // commands of entry From that the caller has already
}

// LogCommand is one command of an entry.
type LogCommand struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Type string `json:"type"`
	Text string `json:"text"` // one line: what it says
	JSON []byte `json:"-"`    // the whole command as JSON
	// AskedBy is role and name of the certificate of the person who asked for it, or of the node.
	AskedBy string `json:"asked_by,omitempty"`
}

// LogEntry is one entry of a node's log.
type LogEntry struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Index    uint64       `json:"index"`
	Term     uint64       `json:"term"`
	Micros   int64        `json:"time_micros"`
	Type     string       `json:"type"` // "commands", or the group's own: "noop", "configuration", …
	Bytes    int          `json:"bytes"`
	Commands []LogCommand `json:"commands"`
	More     int          `json:"-"` // how many further commands did not fit the answer; ask for them with Skip
}

// LogReply answers a LogRequest.
type LogReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node    string
	First   uint64 // first index that the node still has
	Last    uint64
	Entries []LogEntry
}

// LogVerifyRequest asks a node to read its stored log again and check it.
type LogVerifyRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node string // empty: the asked node
}

// LogVerifyReply says what was found.
type LogVerifyReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node    string `json:"node"`
	OK      bool   `json:"ok"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Entries int    `json:"entries"`
	Chain   string `json:"chain"` // hex, at Last
	Detail  string `json:"detail,omitempty"`
}

// LogChainRequest asks a node for its chain hash at an index, 0: where it stands.
type LogChainRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  string
	Index uint64
}

// LogChainReply answers it.
type LogChainReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  string `json:"node"`
	Index uint64 `json:"index"`
	First uint64 `json:"first"` // first index for which the node can say
	Chain string `json:"chain"`
}
