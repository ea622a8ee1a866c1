package mux

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
)

// speaks is a Config of a program of another age.
func speaks(node string, oldest, newest uint16, features wire.Features) Config {
	return Config{Hello: wire.Hello{Node: node, MinVersion: oldest, MaxVersion: newest, Features: features},
		Handler: HandlerFunc(echo)}
}

// greetBoth lets two sides of any Config greet each other.
func greetBoth(t *testing.T, ccfg, scfg Config) (client, server *Conn, clientErr, serverErr error) {
	t.Helper()
	near, far := tcpPair(t)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		takePreamble(t, far)
		server, serverErr = Server(context.Background(), far, scfg)
	}()
	client, clientErr = Client(t.Context(), near, ccfg)
	<-accepted
	t.Cleanup(func() {
		for _, c := range []*Conn{client, server} {
			if c != nil {
				c.Close()
			}
		}
	})
	return client, server, clientErr, serverErr
}

// Programs of two ages talk in the newest version that both speak, with the features that both have,
// whichever of them dials.
func TestOlderAndNewerTalk(t *testing.T) {
	const later = wire.Features(1 << 40)
	older, newer := speaks("older", 1, 1, 0), speaks("newer", 1, 2, later)
	for name, pair := range map[string][2]Config{"older dials": {older, newer}, "newer dials": {newer, older},
		"both newer": {newer, newer}} {
		t.Run(name, func(t *testing.T) {
			client, server, clientErr, serverErr := greetBoth(t, pair[0], pair[1])
			if clientErr != nil || serverErr != nil {
				t.Fatalf("client: %v, server: %v", clientErr, serverErr)
			}
			version, features := uint16(1), wire.FeatureChunkOffset|wire.FeatureOnBehalf|wire.FeatureAppendStream
			if name == "both newer" {
				version, features = 2, features|later
			}
			for _, c := range []*Conn{client, server} {
				if c.agreed.Version != version || c.agreed.Features != features {
					t.Errorf("agreed on version %d and features %x, want %d and %x", c.agreed.Version, c.agreed.Features, version,
						features)
				}
			}
			reply, err := client.Call(t.Context(), Request{Op: wire.OpRead, Session: wire.SessionClient, Raw: []byte("hi")})
			if err != nil || string(reply.Raw) != "hi" {
				t.Errorf("answered %q, %v", reply.Raw, err)
			}
		})
	}
}

// Programs that have no version in common both say why, naming both ranges and the other node.
func TestImpossiblePairSaysWhy(t *testing.T) {
	old, young := speaks("old", 1, 1, 0), speaks("young", 2, 3, 0)
	for name, pair := range map[string][2]Config{"old dials": {old, young}, "young dials": {young, old}} {
		t.Run(name, func(t *testing.T) {
			_, _, clientErr, serverErr := greetBoth(t, pair[0], pair[1])
			for i, err := range []error{clientErr, serverErr} {
				want := `no common protocol version: peer "young" speaks 2 to 3, this side 1 to 1`
				if pair[i].Hello.Node == "young" {
					want = `no common protocol version: peer "old" speaks 1 to 1, this side 2 to 3`
				}
				if wire.CodeOf(err) != wire.CodeProtocol || wire.OutcomeOf(err) != wire.NotDone ||
					!strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", pair[i].Hello.Node, err, want)
				}
			}
		})
	}
}

// A hello of a later version may have more fields than this one knows.
func TestHelloMayGrow(t *testing.T) {
	near, far := net.Pipe()
	cfg := speaks("later", 1, 9, 0).withDefaults()
	body, err := wire.Marshal(&cfg.Hello)
	if err != nil {
		t.Fatal(err)
	}
	body[0]++ // one element more
	body = append(body, 0xa5, 'l', 'a', 't', 'e', 'r')
	go func() {
		_, _ = near.Write(wire.AppendFrame(nil, &wire.Header{Kind: wire.KindHello}, body, nil))
		_, _ = io.Copy(io.Discard, near)
	}()
	c, err := Server(t.Context(), far, Config{Handler: HandlerFunc(echo)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p := c.Peer(); p.Node != "later" || p.MaxVersion != 9 || c.agreed.Version != wire.Version {
		t.Errorf("peer %s, agreed on version %d", p.String(), c.agreed.Version)
	}
}
