//! Msgpack as Consul writes it ("old spec").
