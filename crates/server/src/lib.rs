//! The Raft host, the one write path and the one read path
