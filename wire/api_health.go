package wire

// HealthRequest asks how a node is.
type HealthRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node string // empty: the asked one
}

// HealthReply answers a HealthRequest.
type HealthReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node   string        `json:"node"`
	Checks []HealthCheck `json:"checks"`
}

// HealthCheck is one of the conditions that a node looks at.
type HealthCheck struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Name   string `json:"name"`
	Level  string `json:"level"` // OK, WARN or ERR
	Detail string `json:"detail,omitempty"`
}
