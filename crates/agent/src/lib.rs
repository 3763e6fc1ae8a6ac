//! Assembly of an agent: local state, anti-entropy, sockets, reload
