//! What a domain provides: commands, queries, actions, routes, access
