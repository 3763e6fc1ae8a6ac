//! DNS name grammar, answers and truncation, without a socket
