//! `/v1/agent/host`: the machine under the agent, for `consul debug` and for support.
//!
//! Reading and understanding are apart: the texts of `/proc` and `/etc` go through pure
//! functions. What cannot be read is told in `Errors`, and the rest is shown.
//! Names of the fields: the recorded answer of `http-bad-input`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use acl::{Permission, Resource};
use contract::CallError;
use http::Method;
use http_server::LocalRoute;
use serde::Serialize;

use super::{AuthorizerHook, handler, json, route};

/// The route. It needs `operator:read`.
pub(crate) fn routes(authorizer: &AuthorizerHook) -> Vec<LocalRoute> {
    let show = handler(authorizer, |authorizer, request| async move {
        authorizer(&request.token).require(Permission::read(Resource::Operator, ""))?;
        // The file system that is asked for its size may be slow to answer.
        let facts = tokio::task::spawn_blocking(HostFacts::read).await;
        let facts = facts.map_err(|_| CallError::failed("cannot read the facts of the host"))?;
        Ok(json(&request, &facts))
    });
    vec![route("/v1/agent/host", Method::GET, show)]
}

/// The answer, fields in its order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostFacts {
    memory: Option<Memory>,
    #[serde(rename = "CPU")]
    cpu: Option<Vec<Cpu>>,
    host: Option<Host>,
    disk: Option<Disk>,
    /// Nanoseconds since the Unix epoch.
    collection_time: u64,
    errors: Option<Vec<String>>,
}

impl HostFacts {
    fn read() -> Self {
        let mut errors = Vec::new();
        let memory = read("/proc/meminfo", &mut errors).map(|text| Memory::parse(&text));
        let cpu = read("/proc/cpuinfo", &mut errors).map(|text| parse_cpus(&text));
        let host = Host::read(&mut errors);
        let disk = Disk::read("/").map_err(|error| errors.push(format!("/: {error}"))).ok();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            memory,
            cpu,
            host: Some(host),
            disk,
            collection_time: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            errors: (!errors.is_empty()).then_some(errors),
        }
    }
}

fn read(path: &str, errors: &mut Vec<String>) -> Option<String> {
    std::fs::read_to_string(path).map_err(|error| errors.push(format!("{path}: {error}"))).ok()
}

/// The share that `part` is of `whole`, in per cent.
fn per_cent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// Declares `Memory`: a field, its name in the answer, and its line in `/proc/meminfo`.
macro_rules! memory {
    ($($field:ident $name:literal $line:literal),+ $(,)?) => {
        /// Memory; in bytes but for the numbers of huge pages.
        #[derive(Debug, Default, PartialEq, Serialize)]
        struct Memory {
            $(#[serde(rename = $name)] $field: Number,)+
        }

        impl Memory {
            /// Takes a line of `/proc/meminfo`.
            fn take(&mut self, line: &str, value: u64) {
                match line {
                    $($line if !$line.is_empty() => self.$field = Number::Whole(value),)+
                    _ => {}
                }
            }
        }
    };
}

/// A number of the answer: all are whole but the shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Share(f64),
}

impl Default for Number {
    fn default() -> Self {
        Number::Whole(0)
    }
}

impl Number {
    fn whole(self) -> u64 {
        match self {
            Number::Whole(number) => number,
            Number::Share(_) => 0,
        }
    }
}

memory! {
    total "total" "MemTotal", available "available" "MemAvailable", used "used" "",
    used_percent "usedPercent" "", free "free" "MemFree", active "active" "Active",
    inactive "inactive" "Inactive", wired "wired" "", laundry "laundry" "",
    buffers "buffers" "Buffers", cached "cached" "Cached", write_back "writeBack" "Writeback",
    dirty "dirty" "Dirty", write_back_tmp "writeBackTmp" "WritebackTmp",
    shared "shared" "Shmem", slab "slab" "Slab", sreclaimable "sreclaimable" "SReclaimable",
    sunreclaim "sunreclaim" "SUnreclaim", page_tables "pageTables" "PageTables",
    swap_cached "swapCached" "SwapCached", commit_limit "commitLimit" "CommitLimit",
    committed_as "committedAS" "Committed_AS", high_total "highTotal" "HighTotal",
    high_free "highFree" "HighFree", low_total "lowTotal" "LowTotal",
    low_free "lowFree" "LowFree", swap_total "swapTotal" "SwapTotal",
    swap_free "swapFree" "SwapFree", mapped "mapped" "Mapped",
    vmalloc_total "vmallocTotal" "VmallocTotal", vmalloc_used "vmallocUsed" "VmallocUsed",
    vmalloc_chunk "vmallocChunk" "VmallocChunk",
    huge_pages_total "hugePagesTotal" "HugePages_Total",
    huge_pages_free "hugePagesFree" "HugePages_Free",
    huge_pages_rsvd "hugePagesRsvd" "HugePages_Rsvd",
    huge_pages_surp "hugePagesSurp" "HugePages_Surp", huge_page_size "hugePageSize" "Hugepagesize",
}

impl Memory {
    fn parse(meminfo: &str) -> Self {
        let mut memory = Self::default();
        for line in meminfo.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let mut words = value.split_ascii_whitespace();
            let Some(Ok(number)) = words.next().map(str::parse::<u64>) else { continue };
            let unit = if words.next() == Some("kB") { 1024 } else { 1 };
            memory.take(name, number.saturating_mul(unit));
        }
        // What the kernel would give back counts as cache.
        let cached = memory.cached.whole().saturating_add(memory.sreclaimable.whole());
        memory.cached = Number::Whole(cached);
        let unused = [memory.free.whole(), memory.buffers.whole(), cached];
        let used = unused.iter().fold(memory.total.whole(), |rest, n| rest.saturating_sub(*n));
        memory.used = Number::Whole(used);
        memory.used_percent = Number::Share(per_cent(used, memory.total.whole()));
        memory
    }
}

/// One processor as the scheduler sees it.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    cpu: u32,
    vendor_id: String,
    family: String,
    model: String,
    stepping: u32,
    physical_id: String,
    core_id: String,
    /// Always 1: each row is one.
    cores: u32,
    model_name: String,
    mhz: f64,
    /// Kilobytes.
    cache_size: u64,
    flags: Vec<String>,
    microcode: String,
}

fn parse_cpus(cpuinfo: &str) -> Vec<Cpu> {
    let mut cpus: Vec<Cpu> = Vec::new();
    for line in cpuinfo.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name == "processor" {
            let cpu = value.parse().unwrap_or(cpus.len() as u32);
            cpus.push(Cpu { cpu, cores: 1, ..Cpu::default() });
            continue;
        }
        // Lines before the first processor are about all of them.
        let Some(cpu) = cpus.last_mut() else { continue };
        match name {
            "vendor_id" | "CPU implementer" => cpu.vendor_id = value.to_owned(),
            "cpu family" | "CPU architecture" => cpu.family = value.to_owned(),
            "model" | "CPU part" => cpu.model = value.to_owned(),
            "model name" => cpu.model_name = value.to_owned(),
            "stepping" => cpu.stepping = value.parse().unwrap_or(0),
            "physical id" => cpu.physical_id = value.to_owned(),
            "core id" => cpu.core_id = value.to_owned(),
            "cpu MHz" => cpu.mhz = value.parse().unwrap_or(0.0),
            "cache size" => {
                let number = value.split_ascii_whitespace().next();
                cpu.cache_size = number.and_then(|number| number.parse().ok()).unwrap_or(0);
            }
            "flags" | "Features" => {
                cpu.flags = value.split_ascii_whitespace().map(str::to_owned).collect();
            }
            "microcode" => cpu.microcode = value.to_owned(),
            _ => {}
        }
    }
    cpus
}

/// The operating system.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Host {
    hostname: String,
    /// Seconds.
    uptime: u64,
    /// Seconds since the Unix epoch.
    boot_time: u64,
    procs: u64,
    os: String,
    platform: String,
    platform_family: String,
    platform_version: String,
    kernel_version: String,
    kernel_arch: String,
    virtualization_system: String,
    virtualization_role: String,
    host_id: String,
}

impl Host {
    fn read(errors: &mut Vec<String>) -> Self {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let quiet = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/stat", errors).unwrap_or_default();
        let booted = stat.lines().find_map(|line| line.strip_prefix("btime "));
        let (platform, platform_version) = parse_os_release(&quiet("/etc/os-release"));
        let (system, role) = virtualization(&quiet("/proc/cpuinfo"), &quiet("/proc/1/environ"));
        Self {
            hostname: text(uname.nodename()),
            uptime: u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0),
            boot_time: booted.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0),
            procs: count_processes(),
            os: "linux".to_owned(),
            platform_family: platform_family(&platform).to_owned(),
            platform,
            platform_version,
            kernel_version: text(uname.release()),
            kernel_arch: text(uname.machine()),
            virtualization_system: system.to_owned(),
            virtualization_role: role.to_owned(),
            host_id: host_id(
                &quiet("/sys/class/dmi/id/product_uuid"),
                &quiet("/etc/machine-id"),
                &quiet("/proc/sys/kernel/random/boot_id"),
            ),
        }
    }
}

fn count_processes() -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit)).count() as u64
}

/// `ID` and `VERSION_ID` of os-release(5).
fn parse_os_release(text: &str) -> (String, String) {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    (value("ID"), value("VERSION_ID"))
}

fn platform_family(platform: &str) -> &str {
    match platform {
        "debian" | "ubuntu" | "linuxmint" | "raspbian" => "debian",
        "rhel" | "centos" | "rocky" | "almalinux" | "ol" | "amzn" | "scientific" => "rhel",
        "sles" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" => "suse",
        "arch" | "manjaro" => "arch",
        other => other,
    }
}

/// Under what the machine runs, and whether as host or guest.
fn virtualization(cpuinfo: &str, first_process: &str) -> (&'static str, &'static str) {
    let container = first_process.split('\0').find_map(|pair| pair.strip_prefix("container="));
    if Path::new("/.dockerenv").exists() || container == Some("docker") {
        return ("docker", "guest");
    }
    match container {
        Some("lxc" | "lxc-libvirt") => return ("lxc", "guest"),
        Some("podman") => return ("podman", "guest"),
        Some(_) => return ("container", "guest"),
        None => {}
    }
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    if flags.split_ascii_whitespace().any(|flag| flag == "hypervisor") {
        let maker = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
        return match maker.trim() {
            "VMware, Inc." => ("vmware", "guest"),
            "innotek GmbH" => ("vbox", "guest"),
            "Microsoft Corporation" => ("hyperv", "guest"),
            "Xen" => ("xen", "guest"),
            _ => ("kvm", "guest"),
        };
    }
    if Path::new("/dev/kvm").exists() { ("kvm", "host") } else { ("", "") }
}

/// What tells this machine from others: that of the hardware, of the installation, or
/// of this boot.
fn host_id(hardware: &str, machine: &str, boot: &str) -> String {
    let hardware = hardware.trim().to_ascii_lowercase();
    if hardware.len() == 36 {
        return hardware;
    }
    let machine = machine.trim();
    if machine.len() == 32 && machine.is_ascii() {
        let parts = [&machine[..8], &machine[8..12], &machine[12..16], &machine[16..20]];
        return format!("{}-{}", parts.join("-"), &machine[20..]);
    }
    boot.trim().to_owned()
}

/// The root file system.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    path: String,
    fstype: String,
    total: u64,
    free: u64,
    used: u64,
    used_percent: f64,
    inodes_total: u64,
    inodes_used: u64,
    inodes_free: u64,
    inodes_used_percent: f64,
}

impl Disk {
    fn read(path: &str) -> std::io::Result<Self> {
        let facts = rustix::fs::statvfs(path)?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let bytes = |blocks: u64| blocks.saturating_mul(facts.f_frsize);
        let used = bytes(facts.f_blocks.saturating_sub(facts.f_bfree));
        // What is kept for the superuser is neither used nor free.
        let free = bytes(facts.f_bavail);
        let inodes_used = facts.f_files.saturating_sub(facts.f_ffree);
        Ok(Self {
            path: path.to_owned(),
            fstype: mount_type(&mounts, path),
            total: bytes(facts.f_blocks),
            free,
            used,
            used_percent: per_cent(used, used.saturating_add(free)),
            inodes_total: facts.f_files,
            inodes_used,
            inodes_free: facts.f_ffree,
            inodes_used_percent: per_cent(inodes_used, facts.f_files),
        })
    }
}

/// The type of the file system that is mounted there, of several the last.
fn mount_type(mountinfo: &str, path: &str) -> String {
    let mut types = mountinfo.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let place = mount.split(' ').nth(4)?;
        (place == path).then(|| system.split(' ').next().unwrap_or_default())
    });
    types.next_back().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use acl::Authorizer;
    use contract::Body;

    use super::super::metrics::tests::{call, everybody, request};
    use super::*;

    const PATH: &str = "/v1/agent/host";

    #[tokio::test]
    async fn the_answer_has_the_fields_of_the_recorded_one() {
        let routes = routes(&everybody(Authorizer::allow_all()));
        let reply = call(&routes, request(PATH, &[])).await.expect("it is allowed");
        let Body::Json(bytes) = &reply.response.body else { panic!("it is JSON") };
        let answer: serde_json::Value = serde_json::from_slice(bytes).expect("it is JSON");
        let mut fields: Vec<String> = Vec::new();
        for (section, value) in answer.as_object().expect("it is an object") {
            let value = value.as_array().and_then(|rows| rows.first()).unwrap_or(value);
            match value.as_object() {
                Some(inner) => fields.extend(inner.keys().map(|key| format!("{section}.{key}"))),
                None => fields.push(section.clone()),
            }
        }
        fields.sort();
        let recorded: Vec<&str> = include_str!("testdata/host-fields.txt").lines().collect();
        assert_eq!(fields, recorded);
        assert!(answer["Errors"].is_null(), "{}", answer["Errors"]);
        assert!(answer["Memory"]["total"].as_u64().is_some_and(|bytes| bytes > 1 << 20));
        assert!(answer["Disk"]["total"].as_u64().is_some_and(|bytes| bytes > 0));
    }

    #[tokio::test]
    async fn it_needs_to_read_the_operation() {
        let routes = routes(&everybody(Authorizer::deny_all()));
        let Err(error) = call(&routes, request(PATH, &[])).await else { panic!("it may not") };
        assert!(error.text().contains("lacks permission 'operator:read'"), "{}", error.text());
    }

    #[test]
    fn used_memory_is_what_is_neither_free_nor_cache() {
        let memory = Memory::parse(
            "MemTotal: 1000 kB\nMemFree: 500 kB\nBuffers: 50 kB\nCached: 100 kB\n\
             SReclaimable: 100 kB\nHugePages_Total: 7\nActive(anon): 3 kB\nbroken\nDirty: x kB\n",
        );
        assert_eq!(memory.cached, Number::Whole(200 * 1024));
        assert_eq!(memory.used, Number::Whole(250 * 1024));
        assert_eq!(memory.used_percent, Number::Share(25.0));
        assert_eq!(memory.huge_pages_total, Number::Whole(7));
        assert_eq!((memory.active, memory.dirty), (Number::Whole(0), Number::Whole(0)));
    }

    #[test]
    fn each_processor_is_a_row() {
        let cpus = parse_cpus(
            "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n\
             model name\t: AMD EPYC\nstepping\t: 1\nmicrocode\t: 0x1\ncpu MHz\t\t: 2596.120\n\
             cache size\t: 1024 KB\nphysical id\t: 0\ncore id\t\t: 3\nflags\t\t: fpu vme\n\n\
             processor\t: 1\nflags\t\t:\n",
        );
        let first = Cpu {
            cpu: 0,
            vendor_id: "AuthenticAMD".into(),
            family: "26".into(),
            model: "2".into(),
            stepping: 1,
            physical_id: "0".into(),
            core_id: "3".into(),
            cores: 1,
            model_name: "AMD EPYC".into(),
            mhz: 2596.12,
            cache_size: 1024,
            flags: vec!["fpu".into(), "vme".into()],
            microcode: "0x1".into(),
        };
        assert_eq!(cpus, [first, Cpu { cpu: 1, cores: 1, ..Cpu::default() }]);
    }

    #[test]
    fn a_machine_is_known_by_its_hardware_its_installation_or_its_boot() {
        let uuid = "4C4C4544-0042-3510-8054-B7C04F4B4231";
        let machine = "0123456789abcdef0123456789abcdef";
        assert_eq!(host_id(uuid, machine, "b"), uuid.to_lowercase());
        assert_eq!(host_id("", machine, "b"), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(host_id("", "ä", "b\n"), "b");
    }

    #[test]
    fn distributions_and_file_systems_are_found_by_name() {
        let release = "NAME=\"Debian\"\nVERSION_ID=\"13\"\nID=debian\n";
        assert_eq!(parse_os_release(release), ("debian".to_owned(), "13".to_owned()));
        assert_eq!(platform_family("ubuntu"), "debian");
        let mounts =
            "22 27 0:21 / /proc rw - proc proc rw\n27 1 8:1 / / rw shared:1 - ext4 /dev/a rw\n";
        assert_eq!(mount_type(mounts, "/"), "ext4");
        assert_eq!(mount_type(mounts, "/none"), "");
    }
}
