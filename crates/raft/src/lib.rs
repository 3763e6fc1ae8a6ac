//! Sans-I/O consensus core with the semantics of hashicorp/raft
