//! A world of sessions and a router without sockets and with a fake clock: devices that publish and subscribe, lose
//! their connection, come back, are slow, take over, are forgotten. What is checked are the promises of the standard
//! alone (`promises.rs`). A seed makes one world; a failing one is printed with everything that happened in it.
//!
//! What does not live here: the devices (`device.rs`), the broker's side of it (`host.rs`).

mod device;
mod host;
mod promises;

use device::Device;
use host::Host;
use promises::Promises;

/// A small generator of random numbers (SplitMix64).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const FILTERS: &[&str] = &["t/#", "t/a", "t/b", "t/+", "+/b", "#"];
const SHARED: &str = "s/#";
const TOPICS: &[&str] = &["t/a", "t/b", "t/c", "s/x", "s/y"];

struct World {
    now: u64,
    chance: Chance,
    host: Host,
    devices: Vec<Device>,
    promises: Promises,
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut chance = Chance(seed);
        // Some worlds have queues that overflow, and messages that expire.
        let queue = chance.pick(&[10_000, 10_000, 3]);
        let expiring = chance.one_in(3);
        let number = 2 + chance.below(4);
        let devices = (0..number).map(|n| Device::new(n, &mut chance)).collect();
        Self {
            now: 1_000_000,
            host: Host::new(queue, &mut chance),
            promises: Promises::new(number, queue < 100, expiring, trace),
            chance,
            devices,
        }
    }

    fn step(&mut self) {
        let d = self.chance.below(self.devices.len());
        let what = self.chance.below(100);
        match what {
            0..=29 => self.host_reads(d),
            30..=59 => self.device_reads(d),
            60..=79 => self.publish(d),
            80..=86 => self.subscribe(d),
            87..=88 => self.unsubscribe(d),
            89..=91 => self.lose(d),
            92..=97 => self.connect(d),
            _ => self.pass_time(),
        }
    }

    /// The broker handles what the device sent.
    fn host_reads(&mut self, d: usize) {
        for _ in 0..=self.chance.below(4) {
            let Some(packet) = self.devices[d].up.pop_front() else {
                break;
            };
            let log = &mut self.promises;
            self.host.handle(d, &packet, self.now, &mut self.chance, log);
        }
        self.write_all();
    }

    /// The device handles what the broker sent.
    fn device_reads(&mut self, d: usize) {
        for _ in 0..=self.chance.below(4) {
            if !self.devices[d].read(&mut self.promises) {
                break;
            }
        }
    }

    fn publish(&mut self, d: usize) {
        let (topic, qos) = (self.chance.pick(TOPICS), self.chance.below(3) as u8);
        let device = &mut self.devices[d];
        if device.online && device.sending.len() < 16 {
            let expiry =
                (self.promises.expiring && self.chance.one_in(2)).then(|| 1 + self.chance.below(5) as u32);
            let number = self
                .promises
                .published(d, topic, qos, device.expiry_counts(expiry));
            device.publish(number, topic, qos, expiry);
        }
    }

    fn subscribe(&mut self, d: usize) {
        if !self.devices[d].online {
            return;
        }
        let qos = self.chance.below(3) as u8;
        if self.chance.one_in(3) {
            self.promises.note(|| format!("{d} joins the group at QoS 2"));
            self.host.subscribe(d, Some("g"), SHARED, 2);
        } else {
            let filter = self.chance.pick(FILTERS);
            self.promises
                .note(|| format!("{d} subscribes to {filter} at QoS {qos}"));
            self.host.subscribe(d, None, filter, qos);
        }
    }

    fn unsubscribe(&mut self, d: usize) {
        let filter = self.chance.pick(FILTERS);
        self.promises.note(|| format!("{d} unsubscribes from {filter}"));
        self.host.unsubscribe(d, None, filter);
        if self.chance.one_in(4) {
            self.host.unsubscribe(d, Some("g"), SHARED);
        }
    }

    /// The connection of a device breaks: what was under way is lost.
    fn lose(&mut self, d: usize) {
        if !self.devices[d].online {
            return;
        }
        self.promises.note(|| format!("{d} loses its connection"));
        self.devices[d].lose();
        self.host.lose(d, self.now, &mut self.promises);
    }

    /// A device connects, perhaps over its old connection.
    fn connect(&mut self, d: usize) {
        if self.devices[d].online && !self.chance.one_in(6) {
            return;
        }
        let clean = self.chance.one_in(8);
        self.connect_as(d, clean, self.chance.0 as u16 % 6 + 1);
    }

    fn connect_as(&mut self, d: usize, clean: bool, window: u16) {
        if self.devices[d].online {
            self.lose(d);
        }
        let expiry = self.chance.pick(&[0, 5, 60, 600]);
        let device = &mut self.devices[d];
        let present = self
            .host
            .connect(d, (clean, expiry, window), device, self.now, &mut self.promises);
        self.promises.note(|| {
            format!("{d} connects: clean {clean}, window {window}, expiry {expiry}, present {present}")
        });
        device.connected(present, window);
        self.host.resume(d, self.now, &mut self.promises);
        self.write_all();
    }

    fn pass_time(&mut self) {
        // What stands in a buffer counts as sent.
        (0..self.devices.len()).for_each(|d| self.write(d));
        self.now += self.chance.below(4000) as u64;
        let now = self.now;
        self.promises.note(|| format!("it is {now}"));
        self.host.expire(now, &mut self.promises);
    }

    /// What the sessions wrote is on its way, unless a socket takes nothing just now.
    fn write_all(&mut self) {
        for d in 0..self.devices.len() {
            if !self.chance.one_in(4) {
                self.write(d);
            }
        }
    }

    fn write(&mut self, d: usize) {
        let (now, promises, device) = (self.now, &self.promises, &mut self.devices[d]);
        self.host
            .take_written(d, now, |packet| device.arrive(packet, now, promises));
    }

    /// Everybody comes back and reads until nothing moves any more; then everything due must have arrived.
    fn settle(&mut self) {
        for d in 0..self.devices.len() {
            self.connect_as(d, false, 20);
        }
        let mut quiet = 0;
        while quiet < 20 {
            quiet += 1;
            for d in 0..self.devices.len() {
                if !self.devices[d].up.is_empty() || !self.devices[d].down.is_empty() {
                    quiet = 0;
                }
                self.host_reads(d);
                self.device_reads(d);
            }
        }
        for (d, device) in self.devices.iter().enumerate() {
            device.check_idle();
            self.host.check_idle(d);
        }
        self.promises.check_all();
    }
}

fn live(seed: u64, trace: bool) {
    let mut world = World::new(seed, trace);
    for d in 0..world.devices.len() {
        world.connect_as(d, true, 4);
        world.subscribe(d);
    }
    for _ in 0..world.chance.below(400) {
        world.step();
    }
    world.settle();
}

/// Worlds of one test; `WORLD_SEED` and `WORLD_COUNT` choose others.
#[test]
fn promises_are_kept_in_thousands_of_worlds() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("WORLD_SEED").unwrap_or(1);
    let count = number("WORLD_COUNT").unwrap_or(3000);
    for seed in first..first + count {
        let quiet = std::panic::catch_unwind(|| live(seed, false));
        if quiet.is_err() {
            // Once more, telling everything: the same seed makes the same world.
            let _ = std::panic::catch_unwind(|| live(seed, true));
            panic!("WORLD_SEED={seed} WORLD_COUNT=1 shows it again");
        }
    }
}
