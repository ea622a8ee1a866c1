package bench

import (
	"context"
	"io"
	"net"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcserver"

	"github.com/datanode/datanode/wire/rpcbench"
)

// peers are those of the product, and other libraries.
func peers() []rpcbench.Peer {
	return append(rpcbench.Peers(),
		rpcbench.Peer{Name: "grpc", Serve: serveGRPC, Call: dialGRPC},
		rpcbench.Peer{Name: "drpc", Serve: serveDRPC, Call: dialDRPC, PerCaller: true},
		rpcbench.Peer{Name: "yamux", Serve: serveYamux, Call: dialYamux},
	)
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
		Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(_ any, _ context.Context, decode func(any) error,
			_ grpc.UnaryServerInterceptor) (any, error) {
			var p []byte
			if err := decode(&p); err != nil {
				return nil, err
			}
			p = p[:rpcbench.AnswerBytes]
			return &p, nil
		}}},
	}, nil)
	s.Serve(l)
}

func dialGRPC(_ context.Context, addr string) (rpcbench.Caller, io.Closer, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, payload []byte) error {
		var out []byte
		if err := conn.Invoke(ctx, "/bench/Call", &payload, &out); err != nil {
			return err
		}
		return rpcbench.CheckAnswer(len(out))
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
	p = p[:rpcbench.AnswerBytes]
	return s.MsgSend(&p, rawEncoding{})
}

func serveDRPC(l net.Listener) { drpcserver.New(drpcHandler{}).Serve(context.Background(), l) }

func dialDRPC(_ context.Context, addr string) (rpcbench.Caller, io.Closer, error) {
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
		return rpcbench.CheckAnswer(len(out))
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
					p := make([]byte, rpcbench.PayloadBytes)
					if _, err := io.ReadFull(st, p); err == nil {
						st.Write(p[:rpcbench.AnswerBytes])
					}
				}()
			}
		}()
	}
}

func dialYamux(_ context.Context, addr string) (rpcbench.Caller, io.Closer, error) {
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
		p := make([]byte, rpcbench.AnswerBytes)
		n, err := io.ReadFull(st, p)
		if err != nil {
			return err
		}
		return rpcbench.CheckAnswer(n)
	}, s, nil
}
