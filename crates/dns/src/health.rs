//! Which instances are handed out, and with what weight (`reference/dns.md`
//! sections 4 and 7).

use types::catalog::{CheckServiceNode, Weights};
use types::check::Status;

/// Whether DNS hands out an instance: no critical check of node or service,
/// and with `only_passing` nothing but passing ones. Maintenance is a critical check.
pub fn is_handed_out(row: &CheckServiceNode, only_passing: bool) -> bool {
    row.checks.iter().all(|check| check.status.is_handed_out(only_passing))
}

/// The SRV weight: that for warning when any check warns, else that for
/// passing; 1 when the instance has no weights. Clamped to what SRV can hold.
pub fn srv_weight(row: &CheckServiceNode) -> u16 {
    let weights = row.service.weights.clone().unwrap_or_default();
    let Weights { passing, warning } = weights;
    let warns = row.checks.iter().any(|check| check.status == Status::Warning);
    (if warns { warning } else { passing }).clamp(0, i64::from(u16::MAX)) as u16
}
