//! Versioned in-memory tables with indexes, transactions, exact watches and consistent snapshots
