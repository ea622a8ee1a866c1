package wire

// StopRequest asks whether nodes could be stopped now. Nothing is changed.
type StopRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Nodes []string // that would be stopped, all at once
	From  uint64   // name extents from this ID on
	Limit int      // name so many at most; 0, or too many: the server's
}

// MaxStopNodes bounds the nodes of a StopRequest.
const MaxStopNodes = 1024

// StopReply says what a cell would be without some of its nodes. What is missing already, because of other nodes, does
// not count.
type StopReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Nodes []string `json:"nodes"`
	Safe  bool     `json:"safe"`  // all that could be read still can, puts go on, and votes are enough
	Why   []string `json:"why"`   // not; empty when it is safe
	Notes []string `json:"notes"` // what becomes worse, and is not lost

	Voters       int `json:"voters"`
	VotesLeft    int `json:"votes_left"`
	VotesNeeded  int `json:"votes_needed"`
	TakersLeft   int `json:"takers_left"`   // nodes that take replicas
	TakersNeeded int `json:"takers_needed"` // that a new extent must be on

	Unreadable int `json:"unreadable"`       // extents of which no whole replica would be left
	Unwritable int `json:"unwritable"`       // open ones that could not be written to, nor others in their place
	Single     int `json:"one_replica_left"` // extents that want more and would have one whole replica left
	Open       int `json:"open"`             // open extents with a replica there: they are sealed

	Extents []AtStake `json:"extents"`        // the first that would be unreadable or unwritable, by ID
	Next    uint64    `json:"next,omitempty"` // there are more from this ID on; 0: there are not
}

// PauseRequest plans a stop of a node, or ends that.
type PauseRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node      string
	ForMicros int64 // from now on, up to a day; of one that is paused already, in place of what was planned
	Resume    bool  // end it
	Force     bool  // although something would be lost while it is stopped
	DryRun    bool  // only check
}

// PauseReply says what is planned then.
type PauseReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  string    `json:"node"`
	Until int64     `json:"paused_until_micros,omitempty"` // the cell's time; 0: it is not paused
	Stop  StopReply `json:"check"`                         // of a pause
}

// NodePause is a planned stop of a node.
type NodePause struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node   string `json:"node"`
	Until  int64  `json:"until_micros"` // 0: it is not paused
	Since  int64  `json:"since_micros"`
	By     string `json:"by,omitempty"` // role and name of the certificate
	Forced bool   `json:"forced,omitempty"`
	// Waits is what is still to be done before it can be stopped without anybody noticing; empty: nothing is.
	Waits string `json:"waits,omitempty"`
}

// AtStake is an extent that could not be read, or not be written to.
type AtStake struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64 `json:"extent"`
	State  string `json:"state"`
	Class  string `json:"class,omitempty"`
	Length uint64 `json:"length"` // 0 while open
	What   string `json:"what"`   // "unreadable", "unwritable"
	Why    string `json:"why"`
}
