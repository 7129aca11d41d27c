//! `PrefixMap`: values by address range, longest prefix first. A lookup costs one hash probe for each prefix
//! length in use (at most 33 for IPv4, 129 for IPv6), not one step for each range, and ranges come and go.
//!
//! For fixed sets without values see `nets::NetSet`.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::nets::canonical_net;

type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Ranges in canonical form with a value each.
#[derive(Debug, Clone)]
pub struct PrefixMap<V> {
    four: Table<(u32, u8), V>,
    six: Table<(u128, u8), V>,
    /// How many ranges have each length, so that only lengths in use are probed.
    four_lengths: Lengths<33>,
    six_lengths: Lengths<129>,
}

impl<V> Default for PrefixMap<V> {
    fn default() -> Self {
        Self {
            four: Table::default(),
            six: Table::default(),
            four_lengths: Lengths::default(),
            six_lengths: Lengths::default(),
        }
    }
}

/// The lengths in use, longest first, with the number of ranges of each.
#[derive(Debug, Clone)]
struct Lengths<const N: usize> {
    count: [usize; N],
    used: Vec<u8>,
}

impl<const N: usize> Default for Lengths<N> {
    fn default() -> Self {
        Self {
            count: [0; N],
            used: Vec::new(),
        }
    }
}

impl<const N: usize> Lengths<N> {
    fn add(&mut self, len: u8) {
        if let Some(count) = self.count.get_mut(len as usize) {
            *count += 1;
            if *count == 1 {
                let at = self.used.partition_point(|used| *used > len);
                self.used.insert(at, len);
            }
        }
    }

    fn remove(&mut self, len: u8) {
        if let Some(count) = self.count.get_mut(len as usize) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.used.retain(|used| *used != len);
            }
        }
    }
}

fn mask4(bits: u32, len: u8) -> u32 {
    bits & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn mask6(bits: u128, len: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

impl<V> PrefixMap<V> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of `net` (canonical form, host bits cleared); gives back the one it had.
    pub fn insert(&mut self, net: IpNet, value: V) -> Option<V> {
        match canonical_net(net).trunc() {
            IpNet::V4(n) => {
                let old = self.four.insert((n.network().into(), n.prefix_len()), value);
                if old.is_none() {
                    self.four_lengths.add(n.prefix_len());
                }
                old
            }
            IpNet::V6(n) => {
                let old = self.six.insert((n.network().into(), n.prefix_len()), value);
                if old.is_none() {
                    self.six_lengths.add(n.prefix_len());
                }
                old
            }
        }
    }

    /// Takes out exactly this range.
    pub fn remove(&mut self, net: IpNet) -> Option<V> {
        match canonical_net(net).trunc() {
            IpNet::V4(n) => {
                let old = self.four.remove(&(n.network().into(), n.prefix_len()))?;
                self.four_lengths.remove(n.prefix_len());
                Some(old)
            }
            IpNet::V6(n) => {
                let old = self.six.remove(&(n.network().into(), n.prefix_len()))?;
                self.six_lengths.remove(n.prefix_len());
                Some(old)
            }
        }
    }

    /// The value of exactly this range.
    pub fn get(&self, net: IpNet) -> Option<&V> {
        match canonical_net(net).trunc() {
            IpNet::V4(n) => self.four.get(&(n.network().into(), n.prefix_len())),
            IpNet::V6(n) => self.six.get(&(n.network().into(), n.prefix_len())),
        }
    }

    /// The value of exactly this range, to change it.
    pub fn get_mut(&mut self, net: IpNet) -> Option<&mut V> {
        match canonical_net(net).trunc() {
            IpNet::V4(n) => self.four.get_mut(&(n.network().into(), n.prefix_len())),
            IpNet::V6(n) => self.six.get_mut(&(n.network().into(), n.prefix_len())),
        }
    }

    /// Every range that holds the address, longest prefix first.
    pub fn matches(&self, ip: IpAddr) -> impl Iterator<Item = &V> {
        let (four, six) = match ip.to_canonical() {
            IpAddr::V4(ip) => (Some(u32::from(ip)), None),
            IpAddr::V6(ip) => (None, Some(u128::from(ip))),
        };
        let in_four = four.into_iter().flat_map(move |bits| {
            self.four_lengths
                .used
                .iter()
                .filter_map(move |len| self.four.get(&(mask4(bits, *len), *len)))
        });
        let in_six = six.into_iter().flat_map(move |bits| {
            self.six_lengths
                .used
                .iter()
                .filter_map(move |len| self.six.get(&(mask6(bits, *len), *len)))
        });
        in_four.chain(in_six)
    }

    /// The value of the longest prefix that holds the address.
    pub fn longest(&self, ip: IpAddr) -> Option<&V> {
        self.matches(ip).next()
    }

    /// All ranges with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &V)> {
        let four = self
            .four
            .iter()
            .filter_map(|((bits, len), v)| Some((IpNet::V4(Ipv4Net::new((*bits).into(), *len).ok()?), v)));
        let six = self
            .six
            .iter()
            .filter_map(|((bits, len), v)| Some((IpNet::V6(Ipv6Net::new((*bits).into(), *len).ok()?), v)));
        four.chain(six)
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.four.len() + self.six.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(nets: &[&str]) -> PrefixMap<String> {
        let mut map = PrefixMap::new();
        for net in nets {
            map.insert(net.parse().unwrap(), (*net).to_owned());
        }
        map
    }

    #[track_caller]
    fn check(map: &PrefixMap<String>, ip: &str, want: &[&str]) {
        let got: Vec<_> = map.matches(ip.parse().unwrap()).map(String::as_str).collect();
        assert_eq!(got, want, "{ip}");
    }

    #[test]
    fn the_longest_prefix_comes_first() {
        let mut m = map(&[
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/32",
            "::/0",
            "2001:db8::/32",
        ]);
        check(
            &m,
            "10.1.2.3",
            &["10.1.2.3/32", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"],
        );
        check(&m, "::ffff:10.9.9.9", &["10.0.0.0/8", "0.0.0.0/0"]);
        check(&m, "2001:db8::1", &["2001:db8::/32", "::/0"]);
        assert_eq!(
            m.remove("10.1.0.0/16".parse().unwrap()).as_deref(),
            Some("10.1.0.0/16")
        );
        check(&m, "10.1.2.4", &["10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(m.remove("10.1.0.0/16".parse().unwrap()), None);
        assert_eq!(m.len(), 5);
        assert_eq!(m.iter().count(), 5);
    }
}
