// Dapr's own lock component for Redis, `lock.redis`, as a sidecar runs it, unchanged, on every node.
// LEASEHOLD_REDIS names the servers.
//
//	lock-redis behaviours   what the building block says; a line for each that was seen, an error at the first that was not
//	lock-redis contend      workers on different nodes contend for few locks until standard input ends
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dapr/components-contrib/lock"
	lockredis "github.com/dapr/components-contrib/lock/redis"
	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/kit/logger"

	"leasehold.test/contend"
)

var ctx = context.Background()

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "behaviours":
		for _, address := range contend.Addresses() {
			behaviours(address)
			fmt.Printf("lock.redis %s: initialised, locked, unlocked, run out\n", address)
		}
	case len(os.Args) == 2 && os.Args[1] == "contend":
		run()
	default:
		contend.Check(false, "usage: lock-redis behaviours|contend")
	}
}

// The start of a sidecar ends with an error here if the component does not like what INFO says.
func initialised(address string) lock.Store {
	store := lockredis.NewStandaloneRedisLock(logger.NewLogger("lock-redis"))
	properties := map[string]string{"redisHost": address, "redisPassword": contend.Password()}
	err := store.InitLockStore(ctx, lock.Metadata{Base: metadata.Base{Name: "lockstore", Properties: properties}})
	contend.Check(err == nil, "the component does not start on %s: %v", address, err)
	return store
}

func behaviours(address string) {
	store := initialised(address)
	one, two := contend.Fresh("lock||orders||one"), contend.Fresh("lock||orders||two")
	contend.Check(locks(store, one, "a", 15), "a free lock is taken")
	contend.Check(locks(store, two, "a", 3), "another one too")
	contend.Check(!locks(store, one, "a", 15), "not twice by the same owner")
	contend.Check(!locks(store, one, "b", 15), "nor by another")
	status := unlocked(store, contend.Fresh("unknown"), "a")
	contend.Check(status == lock.LockDoesNotExist, "unlocking what nobody holds is %v", status)
	status = unlocked(store, one, "b")
	contend.Check(status == lock.LockBelongsToOthers, "unlocking another's is %v", status)
	status = unlocked(store, one, "a")
	contend.Check(status == lock.Success, "unlocking one's own is %v", status)
	status = unlocked(store, one, "a")
	contend.Check(status == lock.LockDoesNotExist, "a second time it is %v", status)
	contend.Check(locks(store, one, "b", 15), "what was unlocked is free for another")
	runsOut := time.Now().Add(20 * time.Second)
	for !locks(store, two, "b", 3) {
		contend.Check(time.Now().Before(runsOut), "a lock of 3 s does not run out")
		time.Sleep(20 * time.Millisecond)
	}
	contend.Check(unlocked(store, two, "b") == lock.Success && unlocked(store, one, "b") == lock.Success, "all are unlocked")
	if contend.NativeAPI() {
		contend.Check(contend.HolderOf(one) == nil && contend.HolderOf(two) == nil, "nobody holds them")
	}
	contend.Check(store.Close() == nil, "the component does not close")
}

func locks(store lock.Store, name, owner string, seconds int32) bool {
	answer, err := store.TryLock(ctx, &lock.TryLockRequest{ResourceID: name, LockOwner: owner, ExpiryInSeconds: seconds})
	contend.Check(err == nil, "TryLock of %s by %s: %v", name, owner, err)
	return answer.Success
}

func unlocked(store lock.Store, name, owner string) lock.Status {
	answer, err := store.Unlock(ctx, &lock.UnlockRequest{ResourceID: name, LockOwner: owner})
	contend.Check(err == nil, "Unlock of %s by %s: %v", name, owner, err)
	return answer.Status
}

func run() {
	var stores []lock.Store
	for _, address := range contend.Addresses() {
		stores = append(stores, initialised(address))
	}
	contend.Run("lock.redis", len(stores), func(node int, name string) (string, func() error, error) {
		store, owner := stores[node], contend.Fresh("sidecar")
		seconds := int32(contend.TTL / time.Second)
		request := &lock.TryLockRequest{ResourceID: name, LockOwner: owner, ExpiryInSeconds: seconds}
		answer, err := store.TryLock(ctx, request)
		if err != nil || !answer.Success {
			return "", nil, err
		}
		release := func() error {
			answer, err := store.Unlock(ctx, &lock.UnlockRequest{ResourceID: name, LockOwner: owner})
			if err == nil && answer.Status != lock.Success {
				err = errors.New("the lock was not held any more")
			}
			return err
		}
		return owner, release, nil
	})
}
