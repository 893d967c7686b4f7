package main

import (
	"context"
	"errors"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"leasehold.test/contend"
)

func run() {
	var clients []*redis.Client
	for number, address := range contend.Addresses() {
		clients = append(clients, redis.NewClient(&redis.Options{Addr: address, Protocol: 2 + number%2}))
	}
	contend.Run("go", len(clients), withRedsync(clients), withRedislock(clients))
}

func withRedsync(clients []*redis.Client) contend.Library {
	return func(node int, name string) (string, func() error, error) {
		rs := redsync.New(goredis.NewPool(clients[node]))
		lock := mutex(rs, name, contend.TTL)
		var taken *redsync.ErrTaken
		if err := lock.TryLock(); errors.As(err, &taken) {
			return "", nil, nil
		} else if err != nil {
			return "", nil, err
		}
		release := func() error {
			_, err := lock.Unlock()
			return err
		}
		return lock.Value(), release, nil
	}
}

func withRedislock(clients []*redis.Client) contend.Library {
	return func(node int, name string) (string, func() error, error) {
		lock, err := redislock.Obtain(context.Background(), clients[node], name, contend.TTL, nil)
		if errors.Is(err, redislock.ErrNotObtained) {
			return "", nil, nil
		} else if err != nil {
			return "", nil, err
		}
		return lock.Token(), func() error { return lock.Release(context.Background()) }, nil
	}
}
