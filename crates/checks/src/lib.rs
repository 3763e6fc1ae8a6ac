//! Health check runners around a pure status machine
