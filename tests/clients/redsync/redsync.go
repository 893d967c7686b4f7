package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"leasehold.test/contend"
)

// A slow machine answers late: this much of the expiry may pass before redsync gives a call up. Its default is 0.05.
const patience = 0.5

func redsyncBehaviours(client *redis.Client, address string, protocol int) {
	rs := redsync.New(goredis.NewPool(client))
	for _, each := range []struct {
		name string
		run  func(*redis.Client, *redsync.Redsync)
	}{
		{"one holds and another does not", oneHolds},
		{"an extension resets the expiry", extension},
		{"an extension may take what ran out", extensionOfWhatRanOut},
		{"what ran out is nobody's and free", ranOut},
		{"contenders take turns", takeTurns},
	} {
		each.run(client, rs)
		fmt.Printf("redsync RESP%d %s: %s\n", protocol, address, each.name)
	}
}

func mutex(rs *redsync.Redsync, name string, expiry time.Duration, options ...redsync.Option) *redsync.Mutex {
	options = append(options, redsync.WithExpiry(expiry), redsync.WithTimeoutFactor(patience))
	return rs.NewMutex(name, options...)
}

func oneHolds(client *redis.Client, rs *redsync.Redsync) {
	name := contend.Fresh("redsync")
	mine, other := mutex(rs, name, 10*time.Second), mutex(rs, name, 10*time.Second)
	err := mine.TryLock()
	contend.Check(err == nil, "a free lock is taken: %v", err)
	var taken *redsync.ErrTaken
	err = other.TryLock()
	contend.Check(errors.As(err, &taken), "a held lock is taken by another: %v", err)
	value, err := client.Get(ctx, name).Result()
	contend.Check(err == nil && value == mine.Value(), "the value is the owner: %q, %v", value, err)
	if contend.NativeAPI() {
		holder := contend.HolderOf(name)
		contend.Check(holder != nil && holder.Owner == value, "the native API shows %v, not %q", holder, value)
	}
	valid, err := mine.Valid()
	contend.Check(valid && err == nil, "a held mutex is valid: %v", err)
	ok, err := other.Unlock()
	contend.Check(!ok, "one without the lock does not unlock it: %v", err)
	ok, err = mine.Unlock()
	contend.Check(ok && err == nil, "the holder unlocks: %v", err)
	ok, err = mine.Unlock()
	contend.Check(!ok && errors.Is(err, redsync.ErrLockAlreadyExpired), "once: %v", err)
}

func extension(client *redis.Client, rs *redsync.Redsync) {
	name := contend.Fresh("redsync")
	lock := mutex(rs, name, 10*time.Second)
	contend.Check(lock.Lock() == nil, "a free lock is taken")
	left := client.PTTL(ctx, name).Val()
	contend.Check(contend.Within(5*time.Second, left, 10*time.Second), "%v are left", left)
	longer := mutex(rs, name, 30*time.Second, redsync.WithValue(lock.Value()))
	ok, err := longer.Extend()
	contend.Check(ok && err == nil, "the holder extends: %v", err)
	left = client.PTTL(ctx, name).Val()
	contend.Check(contend.Within(25*time.Second, left, 30*time.Second), "%v are left", left)
	stranger := mutex(rs, name, 30*time.Second, redsync.WithValue("somebody else"))
	ok, err = stranger.Extend()
	contend.Check(!ok, "a stranger does not extend: %v", err)
	ok, err = lock.Unlock()
	contend.Check(ok && err == nil, "the holder unlocks: %v", err)
}

func extensionOfWhatRanOut(client *redis.Client, rs *redsync.Redsync) {
	name := contend.Fresh("redsync")
	lock := mutex(rs, name, 10*time.Second, redsync.WithSetNXOnExtend())
	contend.Check(lock.Lock() == nil, "a free lock is taken")
	ok, err := lock.Extend()
	contend.Check(ok && err == nil, "the holder extends: %v", err)
	ok, err = lock.Unlock()
	contend.Check(ok && err == nil, "the holder unlocks: %v", err)
	ok, err = lock.Extend()
	contend.Check(ok && err == nil, "a free lock is taken again: %v", err)
	contend.Check(client.Get(ctx, name).Val() == lock.Value(), "under the same value")
	other := mutex(rs, name, 10*time.Second, redsync.WithSetNXOnExtend(), redsync.WithValue("somebody else"))
	ok, err = other.Extend()
	contend.Check(!ok, "a held one is not: %v", err)
	ok, err = lock.Unlock()
	contend.Check(ok && err == nil, "the holder unlocks: %v", err)
}

func ranOut(_ *redis.Client, rs *redsync.Redsync) {
	name := contend.Fresh("redsync")
	short := mutex(rs, name, 500*time.Millisecond)
	contend.Check(short.Lock() == nil, "a free lock is taken")
	next := mutex(rs, name, 10*time.Second, redsync.WithTries(500), redsync.WithRetryDelay(20*time.Millisecond))
	err := next.Lock()
	contend.Check(err == nil, "a lock that ran out is taken: %v", err)
	ok, err := short.Extend()
	contend.Check(!ok, "what ran out is not extended: %v", err)
	ok, err = short.Unlock()
	contend.Check(!ok, "what ran out is not unlocked: %v", err)
	ok, err = next.Unlock()
	contend.Check(ok && err == nil, "the holder unlocks: %v", err)
}

func takeTurns(client *redis.Client, rs *redsync.Redsync) {
	name, counter := contend.Fresh("redsync"), 0
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			lock := mutex(rs, name, 20*time.Second, redsync.WithTries(2_000), redsync.WithRetryDelay(10*time.Millisecond))
			for range 4 {
				err := lock.Lock()
				contend.Check(err == nil, "a lock comes free: %v", err)
				value := counter
				client.Ping(ctx)
				counter = value + 1
				ok, err := lock.Unlock()
				contend.Check(ok && err == nil, "the holder unlocks: %v", err)
			}
		})
	}
	workers.Wait()
	contend.Check(counter == 16, "the counter says %d", counter)
}
