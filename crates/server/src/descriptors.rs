//! File descriptors: each connection takes one, and when none is left neither port takes another connection, nor does
//! the database open its files.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that are not connections: listeners, database, log, epoll, files that are read.
const RESERVED: u64 = 64;
/// How many connections are left to the admin port, whatever the device port takes.
const ADMIN: u32 = 64;

/// How many connections each port may have, so that the ports do not starve each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) device: u32,
    pub(crate) admin: u32,
}

/// Raises the process's limit as far as it has to be and may be, and shares it out: at most `wanted` for each port.
pub(crate) fn share(wanted: u32) -> Shares {
    let needed = 2 * u64::from(wanted) + RESERVED;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
        limit.current = limit.current.map(|current| current.max(raised));
        // If it may not be raised, what there is is shared out.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let shares = shares(getrlimit(Resource::Nofile).current, wanted);
    if shares.device < wanted {
        tracing::warn!(
            configured = wanted,
            possible = shares.device,
            "the system allows fewer connections than limits.connections; raise the limit of open files (ulimit -n)"
        );
    }
    shares
}

fn shares(limit: Option<u64>, wanted: u32) -> Shares {
    let Some(limit) = limit else { return Shares { device: wanted, admin: wanted } };
    let room = u32::try_from(limit.saturating_sub(RESERVED)).unwrap_or(u32::MAX);
    let admin = if room / 2 >= wanted { wanted } else { ADMIN.min(room / 4) };
    Shares { device: wanted.min(room - admin).max(1), admin: admin.max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_port_leaves_room_for_the_admin_port_and_the_database() {
        for (limit, wanted, device, admin) in [
            (None, 4096, 4096, 4096),
            (Some(1 << 20), 4096, 4096, 4096),
            (Some(8256), 4096, 4096, 4096),
            (Some(1024), 4096, 896, 64),
            (Some(1024), 100, 100, 100),
            (Some(256), 4096, 144, 48),
            (Some(10), 4096, 1, 1),
        ] {
            assert_eq!(shares(limit, wanted), Shares { device, admin }, "{limit:?} {wanted}");
        }
    }

    #[test]
    fn the_limit_is_raised_where_it_may_be() {
        let before = getrlimit(Resource::Nofile);
        let wanted = 100;
        let low = rustix::process::Rlimit { current: Some(128), maximum: before.maximum };
        setrlimit(Resource::Nofile, low).unwrap();
        let shared = share(wanted);
        let after = getrlimit(Resource::Nofile).current;
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!((shared, after), (Shares { device: wanted, admin: wanted }, Some(2 * 100 + RESERVED)));
    }
}
