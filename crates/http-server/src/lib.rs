//! The HTTP server and the conventions that every route shares
