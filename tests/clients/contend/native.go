// Package contend is what the client programs in Go share: what the native API says of a lock, and the workload in which
// workers on different nodes contend for few locks.
package contend

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const answerMax = 20 * time.Second

// Holder of a lock.
type Holder struct {
	Owner    string `json:"owner"`
	Token    string `json:"token"`
	Metadata string `json:"metadata"`
}

// NativeAPI is whether there is one: not where the servers are real Redis.
func NativeAPI() bool {
	return os.Getenv("LEASEHOLD_BIN") != ""
}

// HolderOf asks the command line of the service under test; nil when nobody holds it, or nobody can say.
func HolderOf(name string) *Holder {
	if !NativeAPI() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerMax)
	defer cancel()
	// The endpoints and the namespace are in the environment.
	answer, err := exec.CommandContext(ctx, os.Getenv("LEASEHOLD_BIN"), "get", name, "-o", "json").Output()
	if err != nil {
		return nil
	}
	var lock struct {
		Holders []Holder `json:"holders"`
	}
	if json.Unmarshal(answer, &lock) != nil || len(lock.Holders) == 0 {
		return nil
	}
	return &lock.Holders[0]
}

// Now is CLOCK_MONOTONIC, in nanoseconds: one clock for all processes of a machine.
func Now() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}

// Password for the servers; empty where they want none.
func Password() string {
	return os.Getenv("LEASEHOLD_REDIS_PASSWORD")
}

// Addresses of the servers.
func Addresses() []string {
	return strings.Split(os.Getenv("LEASEHOLD_REDIS"), ",")
}
