//! rumqttc, MQTT 3.1.1 and 5.

use super::broker;
use std::time::Duration;
use tests::broker::Broker;
use tests::certs::Certs;
use tests::wait::DEADLINE;

#[test]
fn version_3_1_1() {
    use rumqttc::{Client, Event, LastWill, MqttOptions, Packet, QoS};
    let broker = broker(&Certs::new());
    let options = |id: &str| {
        let addr = broker.addr("tcp");
        let mut options = MqttOptions::new(id, addr.ip().to_string(), addr.port());
        options.set_keep_alive(Duration::from_secs(30));
        options
    };
    // The next packet that `wanted` likes.
    let next = |events: &mut rumqttc::Connection, wanted: &dyn Fn(&Packet) -> bool| loop {
        let event = events
            .recv_timeout(DEADLINE)
            .expect("an event")
            .expect("a good one");
        if let Event::Incoming(packet) = event
            && wanted(&packet)
        {
            return packet;
        }
    };

    let (subscriber, mut received) = Client::new(options("sub"), 10);
    subscriber.subscribe("r/#", QoS::ExactlyOnce).expect("a queue");
    next(&mut received, &|packet| matches!(packet, Packet::SubAck(_)));

    let mut with_will = options("pub");
    with_will.set_last_will(LastWill::new("r/will", "gone", QoS::AtLeastOnce, false));
    let (publisher, mut sent) = Client::new(with_will, 10);
    for (qos, topic) in [
        (QoS::AtMostOnce, "r/0"),
        (QoS::AtLeastOnce, "r/1"),
        (QoS::ExactlyOnce, "r/2"),
    ] {
        publisher.publish(topic, qos, false, "hello").expect("a queue");
    }
    next(&mut sent, &|packet| matches!(packet, Packet::PubComp(_)));
    // Its sockets close without DISCONNECT.
    drop((publisher, sent));

    for (topic, payload) in [
        ("r/0", "hello"),
        ("r/1", "hello"),
        ("r/2", "hello"),
        ("r/will", "gone"),
    ] {
        let packet = next(&mut received, &|packet| matches!(packet, Packet::Publish(_)));
        let Packet::Publish(publish) = packet else {
            unreachable!("filtered");
        };
        assert_eq!(
            (publish.topic.as_str(), &publish.payload[..]),
            (topic, payload.as_bytes())
        );
    }
    assert_eq!(seen_version(&broker, "sub"), 4);
}

#[test]
fn version_5() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{LastWill, Packet};
    use rumqttc::v5::{Client, Event, MqttOptions};
    let broker = broker(&Certs::new());
    let options = |id: &str| {
        let addr = broker.addr("tcp");
        let mut options = MqttOptions::new(id, addr.ip().to_string(), addr.port());
        options.set_keep_alive(Duration::from_secs(30));
        options
    };
    let next = |events: &mut rumqttc::v5::Connection, wanted: &dyn Fn(&Packet) -> bool| loop {
        let event = events
            .recv_timeout(DEADLINE)
            .expect("an event")
            .expect("a good one");
        if let Event::Incoming(packet) = event
            && wanted(&packet)
        {
            return packet;
        }
    };

    let (subscriber, mut received) = Client::new(options("sub"), 10);
    subscriber.subscribe("r/#", QoS::ExactlyOnce).expect("a queue");
    next(&mut received, &|packet| matches!(packet, Packet::SubAck(_)));

    let mut with_will = options("pub");
    with_will.set_last_will(LastWill::new("r/will", "gone", QoS::AtLeastOnce, false, None));
    let (publisher, mut sent) = Client::new(with_will, 10);
    for (qos, topic) in [
        (QoS::AtMostOnce, "r/0"),
        (QoS::AtLeastOnce, "r/1"),
        (QoS::ExactlyOnce, "r/2"),
    ] {
        publisher.publish(topic, qos, false, "hello").expect("a queue");
    }
    next(&mut sent, &|packet| matches!(packet, Packet::PubComp(_)));
    drop((publisher, sent));

    for (topic, payload) in [
        ("r/0", "hello"),
        ("r/1", "hello"),
        ("r/2", "hello"),
        ("r/will", "gone"),
    ] {
        let packet = next(&mut received, &|packet| matches!(packet, Packet::Publish(_)));
        let Packet::Publish(publish) = packet else {
            unreachable!("filtered");
        };
        assert_eq!(
            (&publish.topic[..], &publish.payload[..]),
            (topic.as_bytes(), payload.as_bytes())
        );
    }
    assert_eq!(seen_version(&broker, "sub"), 5);
}

fn seen_version(broker: &Broker, id: &str) -> u64 {
    broker.client(id)["proto_ver"].as_u64().expect("a number")
}
