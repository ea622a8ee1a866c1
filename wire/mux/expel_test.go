package mux

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/datanode/datanode/wire"
)

// A caller that is expelled in the middle of a call gets the reason, and never that the call was done: neither by a
// handler that is done at that moment nor by one that takes no notice.
func TestExpel(t *testing.T) {
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		begun, stopped := make(chan struct{}), make(chan error, 1)
		c, server := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(func(ctx context.Context, sc *ServerCall) {
			if _, err := sc.Recv(); err != nil {
				t.Errorf("the first chunk: %v", err)
			}
			close(begun)
			<-ctx.Done()
			stopped <- sc.Reply(nil, []byte("done"))
		})})
		s, err := c.Open(t.Context(), Request{Op: wire.OpPut, Session: wire.SessionClient})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Send([]byte("half")); err != nil {
			t.Fatal(err)
		}
		<-begun
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		server.Expel(ctx, wire.Errorf(0, wire.CodeDenied, "the certificate is revoked"))
		if ctx.Err() != nil {
			t.Error("it took as long as the caller may read")
		}
		if err := <-stopped; !errors.Is(err, ErrEnded) {
			t.Errorf("the handler's answer: %v, want %v", err, ErrEnded)
		}
		_, err = s.Recv()
		if got := (*wire.Error)(nil); !errors.As(err, &got) || got.Code != wire.CodeDenied || got.Outcome != wire.Unknown ||
			got.Op != wire.OpPut || got.Detail != "the certificate is revoked" {
			t.Errorf("the caller is told %#v", err)
		}
		<-c.Done()
		if wire.CodeOf(server.Err()) != wire.CodeDenied {
			t.Errorf("the connection ended with %v", server.Err())
		}
	})
}

// The dialing side fails its calls at once.
func TestExpelTheDialed(t *testing.T) {
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		begun := make(chan struct{})
		c, _ := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(func(ctx context.Context, _ *ServerCall) {
			close(begun)
			<-ctx.Done()
		})})
		failed := make(chan error, 1)
		go func() {
			_, err := c.Call(t.Context(), unaryRequest)
			failed <- err
		}()
		<-begun
		c.Expel(t.Context(), wire.Errorf(0, wire.CodeDenied, "the certificate is revoked"))
		if err := <-failed; wire.OutcomeOf(err) != wire.Unknown {
			t.Errorf("the call: %v, want its outcome unknown", err)
		}
	})
}
