package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"

	"leasehold.test/contend"
)

var ctx = context.Background()

func redislockBehaviours(client *redis.Client, address string, protocol int) {
	name := contend.Fresh("redislock")
	locker := redislock.New(client)
	lock, err := locker.Obtain(ctx, name, 10*time.Second, &redislock.Options{Metadata: " of worker-7"})
	contend.Check(err == nil, "a free lock is obtained: %v", err)
	_, err = locker.Obtain(ctx, name, 10*time.Second, nil)
	contend.Check(errors.Is(err, redislock.ErrNotObtained), "a held lock is not: %v", err)
	if contend.NativeAPI() {
		holder, owner := contend.HolderOf(name), lock.Token()+lock.Metadata()
		contend.Check(holder != nil && holder.Owner == owner, "the native API shows %v, not %q", holder, owner)
	}
	left, err := lock.TTL(ctx)
	contend.Check(err == nil && contend.Within(5*time.Second, left, 10*time.Second), "%v are left, %v", left, err)
	err = lock.Refresh(ctx, 30*time.Second, nil)
	contend.Check(err == nil, "the holder refreshes: %v", err)
	left, err = lock.TTL(ctx)
	contend.Check(err == nil && contend.Within(25*time.Second, left, 30*time.Second), "%v are left, %v", left, err)
	contend.Check(lock.Release(ctx) == nil, "the holder releases")
	contend.Check(errors.Is(lock.Release(ctx), redislock.ErrLockNotHeld), "once")
	contend.Check(errors.Is(lock.Refresh(ctx, time.Second, nil), redislock.ErrNotObtained), "and refreshes no more")
	left, err = lock.TTL(ctx)
	contend.Check(err == nil && left == 0, "nothing is left: %v, %v", left, err)
	short, err := locker.Obtain(ctx, name, 500*time.Millisecond, nil)
	contend.Check(err == nil, "a free lock is obtained: %v", err)
	patient := &redislock.Options{RetryStrategy: redislock.LinearBackoff(20 * time.Millisecond)}
	next, err := locker.Obtain(ctx, name, 10*time.Second, patient)
	contend.Check(err == nil, "a lock that ran out is obtained: %v", err)
	contend.Check(errors.Is(short.Release(ctx), redislock.ErrLockNotHeld), "what ran out is not released")
	contend.Check(next.Release(ctx) == nil, "the holder releases")
	fmt.Printf("redislock RESP%d %s: obtained, refreshed, released, run out\n", protocol, address)
}
