//! What buckets and gauges let through, and what a reload changes.

use super::*;

#[expect(clippy::unnecessary_wraps, reason = "limits are options")]
fn per_second(count: u64) -> Option<Rate> {
    Some(Rate::per_second(count))
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn the_bucket_of_peername_12() {
    let meter = Meter::new(&Limits {
        connect_rate: per_second(100),
        connect_burst: Some(5),
        ..Limits::NONE
    });
    let at = |now: u64| meter.connect(now).is_ok();
    assert_eq!(
        (0..7).map(|_| at(SECOND)).collect::<Vec<_>>(),
        [true, true, true, true, true, false, false]
    );
    assert!(
        !at(SECOND + 9_000_000),
        "nothing is taken by a refusal, and 0.9 is not 1"
    );
    assert!(at(SECOND + 10_000_000));
    assert!(!at(SECOND + 10_000_000));
    assert!(
        (0..5).all(|_| at(100 * SECOND)),
        "full again, and no fuller than the burst"
    );
    assert!(!at(100 * SECOND));
    assert_eq!(meter.read(100 * SECOND).refused, 5);
    assert_eq!(meter.read(100 * SECOND).connect_tokens, Some(0));
    assert_eq!(meter.read(100 * SECOND + 30_000_000).connect_tokens, Some(3));
}

/// The definition's bucket passes the shared vectors; this one must allow what that one allows.
#[test]
fn the_bucket_allows_what_the_definition_allows() {
    let mut seed = 1u64;
    for (rate, burst) in [(1, 1), (2, 3), (10, 2), (3, 7), (100, 500), (999, 1)] {
        let meter = Meter::new(&Limits {
            connect_rate: per_second(u64::from(rate)),
            connect_burst: Some(burst),
            ..Limits::NONE
        });
        let defined = peer::Rate::per_second(rate, burst);
        let mut bucket = peer::Bucket::full(defined);
        let mut now_ms = 0;
        for arrival in 0..5000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pause = (seed >> 40) % (2000 / u64::from(rate) + 1);
            now_ms += if seed >> 61 == 0 { pause * 20 } else { pause / 2 };
            let allowed = meter.connect(now_ms * 1_000_000).is_ok();
            assert_eq!(
                allowed,
                bucket.take(defined, now_ms),
                "{rate}/s, arrival {arrival}"
            );
        }
    }
}

#[test]
fn slow_rates_are_as_exact_as_fast_ones() {
    let rate = Some(Rate {
        count: 2,
        seconds: 60,
    });
    let meter = Meter::new(&Limits {
        connect_rate: rate,
        publish_bytes: per_second(u64::MAX),
        ..Limits::NONE
    });
    let at = |second: u64| meter.connect(second * SECOND).is_ok();
    assert_eq!(
        [at(1), at(1), at(1), at(30), at(31), at(32), at(61)],
        [true, true, false, false, true, false, true]
    );
    assert_eq!(meter.read(0).limits.connect_rate, rate);
    assert_eq!(meter.publish_slow(u64::MAX / 2, SECOND), 0);
}

#[test]
fn a_rate_of_zero_lets_nobody_in() {
    let meter = Meter::new(&Limits {
        connect_rate: per_second(0),
        connect_burst: Some(2),
        ..Limits::NONE
    });
    assert!(
        [1, 1000 * SECOND]
            .iter()
            .all(|now| meter.connect(*now) == Err(Over::ConnectRate))
    );
}

#[test]
fn publishing_too_fast_is_slowed_by_what_is_owed() {
    let meter = Meter::new(&Limits {
        publish_rate: per_second(10),
        publish_bytes: per_second(1000),
        ..Limits::NONE
    });
    assert!((0..10).all(|_| meter.publish_slow(1, SECOND) == 0));
    assert_eq!(meter.publish_slow(1, SECOND), SECOND / 10);
    assert_eq!(meter.publish_slow(1, SECOND), SECOND / 5);
    assert_eq!(meter.publish_slow(1, 3 * SECOND), 0);
    assert_eq!(
        meter.publish_slow(5000, 10 * SECOND),
        4 * SECOND,
        "bytes: 5,000 with 1,000 in hand"
    );
}

#[test]
fn or_refused_but_a_message_larger_than_the_bucket_passes_a_full_one() {
    let meter = Meter::new(&Limits {
        publish_rate: per_second(2),
        publish_bytes: per_second(1000),
        ..Limits::NONE
    });
    assert_eq!(meter.publish_or_refuse(5000, SECOND), Ok(()));
    assert_eq!(meter.publish_or_refuse(1, SECOND), Err(Over::PublishBytes));
    assert_eq!(meter.publish_or_refuse(1, SECOND), Err(Over::PublishRate));
    assert_eq!(meter.publish_or_refuse(1, 7 * SECOND), Ok(()));
}

#[test]
fn gauges_have_limits_that_a_reload_changes() {
    let meter = Meter::new(&Limits {
        max_connections: Some(1),
        max_subscriptions: Some(0),
        ..Limits::NONE
    });
    assert_eq!(meter.add_connection(), Ok(()));
    assert_eq!(meter.add_connection(), Err(Over::MaxConnections));
    assert_eq!(meter.add_subscription(), Err(Over::MaxSubscriptions));
    meter.set_limits(&Limits::NONE);
    assert_eq!(meter.add_connection(), Ok(()));
    meter.sub_connection();
    meter.sub_connection();
    meter.sub_connection();
    assert_eq!(meter.read(0).connections, 0);
    assert_eq!(meter.read(0).limits, Limits::NONE);
}
