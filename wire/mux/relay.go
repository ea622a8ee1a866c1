package mux

import (
	"context"
	"errors"
	"io"

	"github.com/datanode/datanode/wire"
)

// Relay does the call from on the connection to, and answers it with what comes back: body, raw and
// chunks untouched, backpressure passed on, errors as they are. When the next hop cannot be reached the
// caller gets a typed error whose outcome says whether the request was ever written. The error returned
// is the one the caller was given, or that kept it from getting any. The next hop learns whose call it is.
func Relay(ctx context.Context, from *ServerCall, to *Conn) error {
	req := Request{Op: from.op, Session: from.session, Fence: from.hdr.Fence, MinIndex: from.hdr.MinIndex, Raw: from.raw,
		RawSum: from.rawSum.sum, RawSummed: from.rawSum.known,
		End: from.hdr.Flags&wire.FlagEnd != 0, OnBehalf: from.Asker()}
	if len(from.body) > 0 {
		req.Body = wire.Encoded(from.body)
	}
	var reply Reply
	var err error
	if req.End && !from.Streams() {
		reply, err = to.Call(ctx, req)
	} else {
		reply, err = relayStream(ctx, from, to, req)
	}
	if err != nil {
		if failed := from.Fail(err); failed != nil {
			return errors.Join(err, failed)
		}
		return err
	}
	from.SetIndex(reply.Fence, reply.MinIndex)
	var body any
	if len(reply.Body) > 0 {
		body = wire.Encoded(reply.Body)
	}
	b := from.onePart(reply.Raw)
	b.Sum, b.Summed = reply.rawSum.sum, reply.rawSum.known
	err = from.ReplyBytes(body, b)
	reply.Free()
	return err
}

// relayStream passes chunks both ways until the next hop has answered.
func relayStream(ctx context.Context, from *ServerCall, to *Conn, req Request) (Reply, error) {
	st, err := to.Open(ctx, req)
	if err != nil {
		return Reply{}, err
	}
	defer st.Close()
	up := make(chan struct{})
	go func() {
		defer close(up)
		if !req.End {
			relayUp(from, st)
		}
	}()
	reply, err := relayDown(from, st)
	st.Cancel()          // wakes a blocked Send, if the call has not ended
	from.stopReceiving() // and a blocked Recv
	<-up
	return reply, err
}

// relayUp passes the caller's chunks on. Its failures end the stream, and show there.
func relayUp(from *ServerCall, st *Stream) {
	for {
		p, sum, err := from.RecvSum()
		switch {
		case errors.Is(err, io.EOF):
			_ = st.CloseSend() // fails only when the call has ended
			return
		case errors.Is(err, errRecvStopped):
			return
		case err != nil:
			st.Cancel()
			return
		}
		if st.cl.sendBytes(st.cl.summed(p, sum)) != nil {
			return
		}
	}
}

func relayDown(from *ServerCall, st *Stream) (Reply, error) {
	for {
		p, sum, err := st.RecvSum()
		if errors.Is(err, io.EOF) {
			return st.Reply()
		}
		if err != nil {
			return Reply{}, err
		}
		if err := from.SendBytes(from.summed(p, sum)); err != nil {
			return Reply{}, err
		}
	}
}
