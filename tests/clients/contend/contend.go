package contend

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TTL of every hold of the workload.
const TTL = 5 * time.Second

const (
	workersDefault = 4
	pauseMax       = 60 * time.Millisecond
)

// Library takes a lock once, through one node. A lock that is held by another is no error: release is nil then.
type Library func(node int, name string) (owner string, release func() error, err error)

type hold struct {
	Worker  string  `json:"worker"`
	Node    int     `json:"node"`
	Lock    string  `json:"lock"`
	Owner   string  `json:"owner"`
	Entered int64   `json:"entered"`
	Holder  *Holder `json:"holder"`
	Seen    int64   `json:"seen"`
	Until   int64   `json:"until"`
	Left    int64   `json:"left"`
}

// Run lets workers contend for the locks of LEASEHOLD_LOCKS until standard input ends, and prints a JSON line for every
// hold. Workers take the libraries in turn. One whose node does not answer goes on through the next one.
func Run(program string, nodes int, libraries ...Library) {
	locks := strings.Split(os.Getenv("LEASEHOLD_LOCKS"), ",")
	count, err := strconv.Atoi(os.Getenv("LEASEHOLD_WORKERS"))
	if err != nil {
		count = workersDefault
	}
	var stopping atomic.Bool
	var output sync.Mutex
	var workers sync.WaitGroup
	for number := range count {
		workers.Go(func() {
			worker := fmt.Sprintf("%s-%d", program, number)
			node := number % nodes
			library := libraries[number%len(libraries)]
			for !stopping.Load() {
				held, release, err := try(library, node, locks[rand.Intn(len(locks))])
				if held != nil {
					held.Worker, held.Node = worker, node
					line, _ := json.Marshal(held)
					output.Lock()
					fmt.Println(string(line))
					output.Unlock()
					err = release()
				}
				if err != nil {
					fmt.Fprintf(os.Stderr, "%s: %v\n", worker, err)
					node = (node + 1) % nodes
				}
				time.Sleep(time.Duration(rand.Int63n(int64(pauseMax))))
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	stopping.Store(true)
	workers.Wait()
}

func try(library Library, node int, name string) (*hold, func() error, error) {
	started := Now()
	owner, release, err := library(node, name)
	if err != nil || release == nil {
		return nil, nil, err
	}
	held := &hold{Lock: name, Owner: owner, Entered: Now(), Until: started + int64(TTL)}
	held.Holder = HolderOf(name)
	held.Seen = Now()
	held.Left = min(Now(), held.Until)
	return held, release, nil
}
