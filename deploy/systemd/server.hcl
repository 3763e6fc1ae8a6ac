# /etc/consul.d/consul.hcl of a server. `consul validate /etc/consul.d` checks it.

server           = true
bootstrap_expect = 3
datacenter       = "dc1"
data_dir         = "/var/lib/consul"

# Where the other servers are. An agent tries until one of them answers.
retry_join = ["consul-1.example.org", "consul-2.example.org", "consul-3.example.org"]

# `consul keygen` makes one. The same on all agents of the datacenter.
# encrypt = "…"

# HTTP on this machine alone; other machines ask their own agents.
client_addr = "127.0.0.1"

performance {
  raft_multiplier = 1
}
