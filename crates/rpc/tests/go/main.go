// A client that is made of the libraries of real agents: yamux, and net/rpc with msgpack.
// It calls the server port that its argument names, and says nothing when all is as it should be.
package main

import (
	"bytes"
	"fmt"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/consul-net-rpc/go-msgpack/codec"
	msgpackrpc "github.com/hashicorp/consul-net-rpc/net-rpc-msgpackrpc"
	"github.com/hashicorp/consul-net-rpc/net/rpc"
	"github.com/hashicorp/yamux"
)

var handle = &codec.MsgpackHandle{RawToString: true}

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func assert(ok bool, what string, args ...any) {
	if !ok {
		log.Output(2, fmt.Sprintf(what, args...))
		os.Exit(1)
	}
}

func call(session *yamux.Session, method string, args, reply any) error {
	stream, err := session.OpenStream()
	check(err)
	defer stream.Close()
	return msgpackrpc.CallWithCodec(msgpackrpc.NewCodecFromHandle(true, true, stream, handle), method, args, reply)
}

func main() {
	connection, err := net.Dial("tcp", os.Args[1])
	check(err)
	_, err = connection.Write([]byte{4})
	check(err)
	config := yamux.DefaultConfig()
	config.KeepAliveInterval = 100 * time.Millisecond
	config.LogOutput = os.Stderr
	session, err := yamux.Client(connection, config)
	check(err)
	_, err = session.Ping()
	check(err)

	var text string
	check(call(session, "Test.Echo", "hello", &text))
	assert(text == "hello", "Test.Echo: %q", text)
	err = call(session, "Test.Fail", "no luck", &text)
	assert(err != nil && err.Error() == "no luck", "Test.Fail: %v", err)
	err = call(session, "Test.Missing", "", &text)
	assert(err != nil && err.Error() == "rpc: can't find method Test.Missing", "Test.Missing: %v", err)

	// Many streams, and windows that are crossed in both directions on each.
	var group sync.WaitGroup
	for i := 0; i < 50; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			large := bytes.Repeat([]byte{byte(i)}, 1<<20)
			var reply []byte
			check(call(session, "Test.Echo", large, &reply))
			assert(bytes.Equal(large, reply), "Test.Echo changes what is large")
		}(i)
	}
	group.Wait()

	// One stream for many calls, as in the pool of a real agent.
	stream, err := session.OpenStream()
	check(err)
	client := rpc.NewClientWithCodec(msgpackrpc.NewCodecFromHandle(true, true, stream, handle))
	for i := 0; i < 100; i++ {
		check(client.Call("Test.Echo", fmt.Sprint(i), &text))
		assert(text == fmt.Sprint(i), "Test.Echo: %q", text)
	}
	err = client.Call("Test.Refused", "", &text)
	assert(err != nil && err.Error() == "rate limit exceeded", "Test.Refused: %v", err)
	err = client.Call("Test.Echo", "", &text)
	assert(err != nil, "a stream goes on after a refusal")
	check(stream.Close())

	// A call that is given up with its stream.
	hanging, err := session.OpenStream()
	check(err)
	_ = hanging.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	err = msgpackrpc.CallWithCodec(msgpackrpc.NewCodecFromHandle(true, true, hanging, handle), "Test.Hang", "", &text)
	assert(err != nil, "Test.Hang answers")
	check(hanging.Close())

	// Long enough for some keep-alive pings, each of which closes the session if it is not answered.
	time.Sleep(500 * time.Millisecond)
	check(call(session, "Test.Echo", "still there", &text))
	for deadline := time.Now().Add(10 * time.Second); session.NumStreams() > 0; time.Sleep(time.Millisecond) {
		assert(time.Now().Before(deadline), "%d streams are left", session.NumStreams())
	}
	check(session.Close())
}
