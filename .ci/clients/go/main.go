// A service with an HTTP check, a watched key, and locks that `consul lock` wants too, through
// the library
// github.com/hashicorp/consul/api.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

const (
	name       = "client-go"
	key        = "clients/go"
	timeoutMax = 20 * time.Second
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return err
	}
	// What the check asks; answers with whatever status it is told to.
	var status atomic.Int32
	status.Store(http.StatusOK)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }
	go http.Serve(listener, http.HandlerFunc(handler))
	port := listener.Addr().(*net.TCPAddr).Port

	err = client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: name, Name: name, Port: port, Tags: []string{"v1"},
		Check: &api.AgentServiceCheck{
			HTTP: fmt.Sprintf("http://127.0.0.1:%d/", port), Interval: "1s", Timeout: "1s",
		},
	})
	if err != nil {
		return err
	}
	steps := []struct {
		status    int
		health    string
		instances int
	}{{200, api.HealthPassing, 1}, {500, api.HealthCritical, 0}, {200, api.HealthPassing, 1}}
	for _, step := range steps {
		status.Store(int32(step.status))
		if err := becomes(client, step.health); err != nil {
			return err
		}
		entries, _, err := client.Health().Service(name, "v1", true, nil)
		if err != nil {
			return err
		}
		if len(entries) != step.instances {
			return fmt.Errorf("%d instances are passing after %d", len(entries), step.status)
		}
	}
	if err := watchKey(client); err != nil {
		return err
	}
	if err := locks(client, os.Getenv("CONSUL_BINARY")); err != nil {
		return err
	}
	if err := client.Agent().ServiceDeregister(name); err != nil {
		return err
	}
	services, err := client.Agent().Services()
	if _, there := services[name]; there {
		return fmt.Errorf("%s is there after it was deregistered", name)
	}
	return err
}

// Follows the service's one check until it has the status.
func becomes(client *api.Client, wanted string) error {
	options := &api.QueryOptions{WaitTime: 2 * time.Second}
	var checks api.HealthChecks
	for end := time.Now().Add(timeoutMax); time.Now().Before(end); {
		var meta *api.QueryMeta
		var err error
		checks, meta, err = client.Health().Checks(name, options)
		if err != nil {
			return err
		}
		if len(checks) == 1 && checks[0].Status == wanted {
			return nil
		}
		options.WaitIndex = meta.LastIndex
	}
	return fmt.Errorf("the check is not %s after %v: %v", wanted, timeoutMax, checks)
}

// Follows a key with the library's own watch.
func watchKey(client *api.Client) error {
	plan, err := watch.Parse(map[string]any{"type": "key", "key": key})
	if err != nil {
		return err
	}
	values := make(chan string, 10)
	plan.Handler = func(_ uint64, data any) {
		if pair, ok := data.(*api.KVPair); ok && pair != nil {
			values <- string(pair.Value)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- plan.RunWithClientAndHclog(client, nil) }()
	defer plan.Stop()
	for _, value := range []string{"first", "changed"} {
		if _, err := client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
			return err
		}
		select {
		case seen := <-values:
			if seen != value {
				return fmt.Errorf("the watch saw %q, not %q", seen, value)
			}
		case err := <-ended:
			return fmt.Errorf("the watch ended: %v", err)
		case <-time.After(timeoutMax):
			return fmt.Errorf("the watch saw nothing of %q", value)
		}
	}
	_, err = client.KV().Delete(key, nil)
	return err
}
