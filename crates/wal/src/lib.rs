//! Write-ahead log, stable store and snapshot store over a Disk trait
