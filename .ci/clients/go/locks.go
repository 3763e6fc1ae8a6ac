package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/hashicorp/consul/api"
)

// Locks and semaphores of the library and of `consul lock` exclude each other.
func locks(client *api.Client, consul string) error {
	for _, kind := range []struct {
		flag string
		at   string
		free int
		take func(wait time.Duration) (release func() error, err error)
	}{
		{"-n=1", "clients/lock", 1, func(wait time.Duration) (func() error, error) {
			lock, err := client.LockOpts(&api.LockOptions{
				Key: "clients/lock/.lock", LockTryOnce: true, LockWaitTime: wait,
			})
			if err != nil {
				return nil, err
			}
			held, err := lock.Lock(nil)
			return releaseOf(held, lock.Unlock), err
		}},
		{"-n=2", "clients/semaphore", 2, func(wait time.Duration) (func() error, error) {
			semaphore, err := client.SemaphoreOpts(&api.SemaphoreOptions{
				Prefix: "clients/semaphore", Limit: 2, SemaphoreTryOnce: true, SemaphoreWaitTime: wait,
			})
			if err != nil {
				return nil, err
			}
			held, err := semaphore.Acquire(nil)
			return releaseOf(held, semaphore.Release), err
		}},
	} {
		if err := exclude(consul, kind.flag, kind.at, kind.free, kind.take); err != nil {
			return fmt.Errorf("consul lock %s: %w", kind.flag, err)
		}
	}
	return nil
}

func releaseOf(held <-chan struct{}, release func() error) func() error {
	if held == nil {
		return nil
	}
	return release
}

// The library takes all that is free, and the command gets nothing; then the other way round.
func exclude(
	consul, flag, at string, free int, take func(time.Duration) (func() error, error),
) error {
	var releases []func() error
	for range free {
		release, err := take(timeoutMax)
		if err != nil || release == nil {
			return fmt.Errorf("the library does not get what is free: %v", err)
		}
		releases = append(releases, release)
	}
	refused := exec.Command(consul, "lock", flag, "-timeout=300ms", at, "true")
	if output, err := refused.CombinedOutput(); err == nil {
		return fmt.Errorf("the command gets what the library holds: %s", output)
	}
	for _, release := range releases {
		if err := release(); err != nil {
			return err
		}
	}

	var holders []*holder
	for range free {
		holder, err := hold(consul, flag, at)
		if err != nil {
			return err
		}
		holders = append(holders, holder)
	}
	if release, err := take(300 * time.Millisecond); err != nil || release != nil {
		return fmt.Errorf("the library gets what the command holds: %v", err)
	}
	for _, holder := range holders {
		if err := holder.release(); err != nil {
			return err
		}
	}
	release, err := take(timeoutMax)
	if err != nil || release == nil {
		return fmt.Errorf("the library does not get what the command gave back: %v", err)
	}
	return release()
}

// A command that holds the lock until its input ends.
type holder struct {
	command *exec.Cmd
	input   io.WriteCloser
	errors  bytes.Buffer
}

func hold(consul, flag, at string) (*holder, error) {
	child := "echo held; exec cat"
	holder := &holder{command: exec.Command(consul, "lock", flag, "-pass-stdin", at, child)}
	holder.command.Stderr = &holder.errors
	input, err := holder.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	holder.input = input
	output, err := holder.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := holder.command.Start(); err != nil {
		return nil, err
	}
	word := make([]byte, len("held\n"))
	if _, err := io.ReadFull(output, word); err != nil {
		return nil, errors.Join(err, errors.New(holder.errors.String()))
	}
	return holder, nil
}

func (h *holder) release() error {
	if err := h.input.Close(); err != nil {
		return err
	}
	if err := h.command.Wait(); err != nil {
		return errors.Join(err, errors.New(h.errors.String()))
	}
	return nil
}
