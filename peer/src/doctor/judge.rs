//! The conditions of the findings (peername 11.1).

use super::message::{Fill, message};
use super::window::{Slot, Tally};
use super::{Doctor, Finding, FindingCode, is_inside};
use crate::addr::{Addr, Class};
use crate::policy::{ConfigCode, Problem};
use crate::text::shown;

/// Addresses that one code is reported for at a time; the most frequent ones.
const REPORTED_MAX: usize = 8;

/// The range of a problem that makes D09.
pub(super) fn wide_range(problem: &Problem) -> Option<String> {
    let wide = matches!(
        problem.code,
        ConfigCode::Cw01 | ConfigCode::Cw02 | ConfigCode::Ce06 | ConfigCode::Ce14
    );
    problem.range.filter(|_| wide).map(|range| range.to_string())
}

impl Doctor {
    /// What holds now.
    pub(super) fn conditions(&mut self, now_ms: u64) -> Vec<Finding> {
        let sums = self.window.sums(now_ms);
        let both_ways: Vec<(String, Addr)> = self
            .window
            .both_ways(now_ms)
            .map(|(id, addr)| (id.to_owned(), addr))
            .collect();
        let mut found = Found {
            doctor: self,
            now_ms,
            findings: Vec::new(),
        };
        found.one_address(&sums);
        for (code, tally) in &sums.tallies {
            found.tally(*code, tally);
        }
        for range in &self.wide {
            found.add(
                FindingCode::D09,
                range,
                0,
                &Fill {
                    range,
                    ..Fill::default()
                },
            );
        }
        found.server_port(&sums);
        for (id, addr) in both_ways {
            let (id, ip) = (shown(&id), addr.host_text().to_string());
            found.add(
                FindingCode::D20,
                &id,
                1,
                &Fill {
                    ip: &ip,
                    id: &id,
                    ..Fill::default()
                },
            );
        }
        found.findings
    }
}

struct Found<'d> {
    doctor: &'d Doctor,
    now_ms: u64,
    findings: Vec<Finding>,
}

impl Found<'_> {
    /// D01 and D17: nine of ten accepted connections have one address.
    fn one_address(&mut self, sums: &Slot) {
        let Some((addr, stat)) = sums.peers.iter().max_by_key(|(_, stat)| stat.count) else {
            return;
        };
        let dominant = stat.count * 10 >= sums.accepted * 9 && stat.ids.len() >= 10 && stat.all_client;
        if !dominant {
            return;
        }
        let hidden = is_inside(addr) && !(self.doctor.facts.local_mode && addr.class() == Class::Loopback);
        if sums.accepted >= 20 && stat.all_socket && hidden {
            self.about(FindingCode::D01, *addr, stat.count);
        }
        if sums.accepted >= 50 && stat.none_socket {
            self.about(FindingCode::D17, *addr, stat.count);
        }
    }

    /// Findings that rest on a number of events.
    fn tally(&mut self, code: FindingCode, tally: &Tally) {
        let enough = match code {
            FindingCode::D10 | FindingCode::D12 | FindingCode::D14 => tally.count >= 5,
            FindingCode::D11 => tally.count - tally.strong >= 5 || tally.strong >= 1,
            FindingCode::D18 => tally.count >= 10,
            FindingCode::D21 => tally.count >= 20,
            FindingCode::D02 => return self.per_place(code, tally, 5, 100),
            FindingCode::D05 => return self.per_place(code, tally, 1, u64::MAX),
            FindingCode::D03 | FindingCode::D04 | FindingCode::D15 | FindingCode::D16 | FindingCode::D19 => {
                return self.each(code, tally);
            }
            FindingCode::D06 | FindingCode::D07 | FindingCode::D08 => true,
            _ => false,
        };
        if enough {
            let ip = tally.by_count().first().map_or(Addr::UNIX, |(addr, _)| *addr);
            self.noted(code, tally, ip, tally.count);
        }
    }

    fn each(&mut self, code: FindingCode, tally: &Tally) {
        for (addr, count) in tally.by_count().into_iter().take(REPORTED_MAX) {
            self.noted(code, tally, addr, count);
        }
    }

    /// Fewer events are enough from an address of our own networks than from one outside. D05 also counts
    /// them all together.
    fn per_place(&mut self, code: FindingCode, tally: &Tally, inside_min: u64, outside_min: u64) {
        let by_count = tally.by_count().into_iter();
        let (inside, outside): (Vec<_>, Vec<_>) = by_count.partition(|(addr, _)| is_inside(addr));
        let inside = inside.into_iter().filter(|(_, count)| *count >= inside_min);
        let all = code == FindingCode::D05 && tally.count >= 10;
        let outside = outside
            .into_iter()
            .filter(|(_, count)| all || *count >= outside_min);
        for (addr, count) in inside.chain(outside).take(REPORTED_MAX) {
            self.noted(code, tally, addr, count);
        }
    }

    /// D13: every client has the same port, though they are many.
    fn server_port(&mut self, sums: &Slot) {
        let ports = &sums.header_ports;
        let Some(port) = ports
            .port
            .filter(|_| !self.doctor.port_header.is_empty() && !ports.mixed)
        else {
            return;
        };
        if ports.count >= 20 && ports.ips.len() >= 10 {
            let port = port.to_string();
            self.add(
                FindingCode::D13,
                "",
                ports.count,
                &Fill {
                    client_port: &port,
                    ..Fill::default()
                },
            );
        }
    }

    fn about(&mut self, code: FindingCode, addr: Addr, count: u64) {
        let ip = addr.host_text().to_string();
        self.add(
            code,
            &ip,
            count,
            &Fill {
                ip: &ip,
                ..Fill::default()
            },
        );
    }

    fn noted(&mut self, code: FindingCode, tally: &Tally, addr: Addr, count: u64) {
        let ip = addr.host_text().to_string();
        let codes: Vec<&str> = tally.codes.iter().copied().collect();
        let fill = Fill {
            ip: &ip,
            note: &tally.note,
            codes: &codes.join(", "),
            ..Fill::default()
        };
        // These are about the listener; the address only stands in the text, and may change.
        let whole = [
            FindingCode::D06,
            FindingCode::D07,
            FindingCode::D08,
            FindingCode::D14,
            FindingCode::D18,
            FindingCode::D21,
        ];
        let key = if whole.contains(&code) { "" } else { ip.as_str() };
        self.add(code, key, count, &fill);
    }

    fn add(&mut self, code: FindingCode, address: &str, count: u64, fill: &Fill<'_>) {
        let (text, snippets) = message(code, self.doctor, count, fill);
        self.findings.push(Finding {
            code,
            severity: code.severity(),
            listener: self.doctor.facts.name.clone(),
            address: address.to_owned(),
            count,
            text,
            snippets,
            first_ms: self.now_ms,
            last_ms: self.now_ms,
            log: true,
        });
    }
}
