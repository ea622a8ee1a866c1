package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/rpc"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcserver"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// caller makes one call and checks that the answer has the payload's length. Many goroutines use one.
type caller func(ctx context.Context, payload []byte) error

// peer is one way to make calls.
type peer struct {
	serve func(l net.Listener)
	// dial connects. perCaller tells that a connection carries one call at a time, so that each
	// calling goroutine needs its own.
	dial      func(ctx context.Context, addr string) (caller, io.Closer, error)
	perCaller bool
}

func peers() map[string]peer {
	return map[string]peer{
		"datanode": {serve: serveMux, dial: dialMux},
		"grpc":     {serve: serveGRPC, dial: dialGRPC},
		"drpc":     {serve: serveDRPC, dial: dialDRPC, perCaller: true},
		"yamux":    {serve: serveYamux, dial: dialYamux},
		"net-rpc":  {serve: serveNetRPC, dial: dialNetRPC},
		"copy":     {serve: serveCopy},
	}
}

func checkLength(got, want int) error {
	if got != want {
		return fmt.Errorf("answer of %d bytes to %d", got, want)
	}
	return nil
}

// answerBytes is the size of every answer: a call asks with 1 KiB and is told little, as an append is.
const answerBytes = 16

// datanode: one connection, the payload in the raw part.

func serveMux(l net.Listener) {
	h := mux.HandlerFunc(func(_ context.Context, c *mux.ServerCall) {
		if c.Op() == wire.OpRead {
			streamOut(c)
			return
		}
		c.Reply(nil, c.Raw()[:answerBytes])
	})
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			var first [1]byte
			if _, err := io.ReadFull(nc, first[:]); err != nil {
				return
			}
			mux.Server(context.Background(), nc, mux.Config{Handler: h})
		}()
	}
}

func dialMux(ctx context.Context, addr string) (caller, io.Closer, error) {
	conn, err := muxConn(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, payload []byte) error {
		r, err := conn.Call(ctx, mux.Request{Op: wire.OpReplicaAppend, Session: wire.SessionAppend, Raw: payload})
		if err != nil {
			return err
		}
		return checkLength(len(r.Raw), answerBytes)
	}, conn, nil
}

func muxConn(ctx context.Context, addr string) (*mux.Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return mux.Client(ctx, nc, mux.Config{})
}

// gRPC: one connection, a codec that passes bytes through.

type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(p []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), p...)
	return nil
}
func (rawCodec) Name() string { return "raw" }

func serveGRPC(l net.Listener) {
	s := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var p []byte
			if err := decode(&p); err != nil {
				return nil, err
			}
			p = p[:answerBytes]
			return &p, nil
		}}},
	}, nil)
	s.Serve(l)
}

func dialGRPC(_ context.Context, addr string) (caller, io.Closer, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, payload []byte) error {
		var out []byte
		if err := conn.Invoke(ctx, "/bench/Call", &payload, &out); err != nil {
			return err
		}
		return checkLength(len(out), answerBytes)
	}, conn, nil
}

// DRPC: a connection for each caller, since one carries a call at a time.

type rawEncoding struct{}

func (rawEncoding) Marshal(m drpc.Message) ([]byte, error) { return *m.(*[]byte), nil }
func (rawEncoding) Unmarshal(p []byte, m drpc.Message) error {
	*m.(*[]byte) = append([]byte(nil), p...)
	return nil
}

type drpcHandler struct{}

func (drpcHandler) HandleRPC(s drpc.Stream, _ string) error {
	var p []byte
	if err := s.MsgRecv(&p, rawEncoding{}); err != nil {
		return err
	}
	p = p[:answerBytes]
	return s.MsgSend(&p, rawEncoding{})
}

func serveDRPC(l net.Listener) { drpcserver.New(drpcHandler{}).Serve(context.Background(), l) }

func dialDRPC(_ context.Context, addr string) (caller, io.Closer, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	conn := drpcconn.New(nc)
	return func(ctx context.Context, payload []byte) error {
		var out []byte
		if err := conn.Invoke(ctx, "call", rawEncoding{}, &payload, &out); err != nil {
			return err
		}
		return checkLength(len(out), answerBytes)
	}, conn, nil
}

// yamux: one connection, a stream for each call.

func serveYamux(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		s, err := yamux.Server(nc, nil)
		if err != nil {
			return
		}
		go func() {
			for {
				st, err := s.AcceptStream()
				if err != nil {
					return
				}
				go func() {
					defer st.Close()
					p := make([]byte, payloadBytes)
					if _, err := io.ReadFull(st, p); err == nil {
						st.Write(p[:answerBytes])
					}
				}()
			}
		}()
	}
}

func dialYamux(_ context.Context, addr string) (caller, io.Closer, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	s, err := yamux.Client(nc, nil)
	if err != nil {
		return nil, nil, err
	}
	return func(_ context.Context, payload []byte) error {
		st, err := s.OpenStream()
		if err != nil {
			return err
		}
		defer st.Close()
		if _, err := st.Write(payload); err != nil {
			return err
		}
		p := make([]byte, answerBytes)
		n, err := io.ReadFull(st, p)
		if err != nil {
			return err
		}
		return checkLength(n, answerBytes)
	}, s, nil
}

// net/rpc: one connection, gob.

// Bench is the service of net/rpc.
type Bench struct{}

// Call answers the beginning of what it is asked with.
func (Bench) Call(in []byte, out *[]byte) error { *out = in[:answerBytes]; return nil }

func serveNetRPC(l net.Listener) {
	s := rpc.NewServer()
	if err := s.Register(Bench{}); err != nil {
		panic(err)
	}
	s.Accept(l)
}

func dialNetRPC(_ context.Context, addr string) (caller, io.Closer, error) {
	c, err := rpc.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	return func(_ context.Context, payload []byte) error {
		var out []byte
		if err := c.Call("Bench.Call", payload, &out); err != nil {
			return err
		}
		return checkLength(len(out), answerBytes)
	}, c, nil
}
