// The Go libraries redsync and redislock, unchanged, over go-redis, on every node. LEASEHOLD_REDIS names the servers.
//
//	redsync behaviours   what their documentation says; a line for each that was seen, an error at the first that was not
//	redsync contend      workers on different nodes contend for few locks until standard input ends
package main

import (
	"os"

	"github.com/redis/go-redis/v9"

	"leasehold.test/contend"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "behaviours":
		for _, address := range contend.Addresses() {
			for _, protocol := range []int{2, 3} {
				client := redis.NewClient(&redis.Options{Addr: address, Protocol: protocol, Password: contend.Password()})
				redsyncBehaviours(client, address, protocol)
				redislockBehaviours(client, address, protocol)
				contend.Check(client.Close() == nil, "the client does not close")
			}
		}
	case len(os.Args) == 2 && os.Args[1] == "contend":
		run()
	default:
		contend.Check(false, "usage: redsync behaviours|contend")
	}
}
