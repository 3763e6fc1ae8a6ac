# /etc/consul.d/consul.hcl of a client agent: one on each machine that runs services.

datacenter = "dc1"
data_dir   = "/var/lib/consul"
retry_join = ["consul-1.example.org", "consul-2.example.org", "consul-3.example.org"]

# The same as on the servers.
# encrypt = "…"

client_addr = "127.0.0.1"
